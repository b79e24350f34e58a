"""The wording of every problem, a function each."""
