"""Job lists: commands and functions of Python, made into the rules that a Pipefile makes."""
