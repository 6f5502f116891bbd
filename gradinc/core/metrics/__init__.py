"""Metrics: one file for each name in ``metrics=[…]``."""
