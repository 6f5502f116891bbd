"""Benchmarks: gradinc against hand-written loops, and the cost of each strategy."""
