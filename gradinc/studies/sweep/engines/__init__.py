"""Engines for the jobs of a sweep: one file for each choice of ``cluster=``."""
