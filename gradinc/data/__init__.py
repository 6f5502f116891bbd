"""Data sets, their splits, their rows in batches, and streams of tasks."""
