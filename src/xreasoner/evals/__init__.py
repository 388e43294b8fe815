"""Benchmarks, the runner, statistics and ablations."""
