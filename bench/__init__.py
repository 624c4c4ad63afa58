"""Benchmarks: `python -m bench`. One harness, one file a family, results as data."""
