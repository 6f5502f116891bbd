"""Criteria: one file for each choice of ``criterion=``."""
