"""What Python programs and notebooks use: `import buildhpc` has all of it."""
