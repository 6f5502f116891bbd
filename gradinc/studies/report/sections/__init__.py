"""The sections of a report, each computed from settings and runs."""
