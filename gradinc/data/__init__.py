"""Data sets, their splits, how rows are served in batches, and streams of tasks."""
