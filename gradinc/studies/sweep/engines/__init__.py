"""Where the jobs of a sweep run: one file for each choice of ``cluster=``."""
