"""The published benchmarks: `BENCHMARKS` says which there are, `load_benchmark` gives their problems."""

from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.load import load_benchmark

__all__ = ["BENCHMARKS", "load_benchmark"]
