"""Errors, files, text and randomness, for every other package."""
