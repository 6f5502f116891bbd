"""Existing runs, read from their directories as untrusted data, without torch."""
