"""Runs jobs: recipes, processes, outputs, the local pool."""
