"""Text to syntax tree, expressions, names in braces, the standard form."""
