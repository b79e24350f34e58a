"""Schedulers, a text-only module each."""
