"""From the command line and YAML to a checked `Config`, without importing torch."""
