"""The published benchmarks: `BENCHMARKS` lists them, `load_benchmark` reads one."""

from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.published import load_benchmark

__all__ = ["BENCHMARKS", "load_benchmark"]
