"""Composition of the command line and YAML into a checked `Config`, without importing torch."""
