"""Other programs that a run's numbers are sent to; each tracker is one file."""
