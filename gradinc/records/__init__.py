"""Runs that are there already, read from their directories: data that nobody has checked, and no torch."""
