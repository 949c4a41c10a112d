"""Benchmarks: what an effect costs beside what a user would write without us."""
