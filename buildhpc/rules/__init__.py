"""What a Pipefile says, checked: rules, directives, configuration."""
