"""Rollouts, tokens per second, by model size: our torch engine, transformers' `generate`, vLLM on the CPU.

    make test-vllm   # makes the environment
    OMP_NUM_THREADS=1 PYTHONPATH=tests/vllm/site .venv-vllm/bin/python benchmarks/rollout_vllm.py \\
        [--sizes 1M 3M 10M 30M 100M] [--rounds 3]

All three run in one process, in turn, on the same prompts, with one thread and the lengths of rollout.py.
vLLM runs as `engine: vllm` starts it on a CPU: without compilation, with its prefix cache. `engine: auto`
uses vLLM from the size on at which our ratio falls below 1. Seconds are CPU time by default: all threads of
this process, and nothing of other processes. The number of cores in use is printed.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers

from rollout import Bench
from side_by_side import CLOCKS, SIZES, alternate, entry, record, written_problems
from xreasoner.chat.template import problem_prompt
from xreasoner.models.tensor_files import parameters
from xreasoner.rollout.vllm_engine.engine import VllmEngine

WORK = {"1M": (32, 8, 256), "3M": (32, 8, 256), "10M": (16, 8, 128), "30M": (8, 8, 128), "100M": (4, 8, 64)}
"""Prompts, samples each, and the longest answer."""
AT_ONCE = (64, 256)
"""Batch sizes of `generate`, which runs until its longest row ends; the best one counts."""


def compare(size: str, folder: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    count, samples, cap = WORK[size]
    rows = count * samples
    bench = Bench(folder, rows, size, cap, CLOCKS[options.clock])
    vllm_engine = VllmEngine(folder, torch.float32, rows)
    prompts = [problem_prompt(problem, None) for problem in written_problems(count, lambda rng: 1)]
    print(f"{size}: {parameters(folder):,} parameters, {count} prompts, {samples} samples each, cap {cap}")
    loads: dict[str, list[float]] = defaultdict(list)
    ours = watched(lambda: bench.ours(prompts, samples), loads["ours"])
    peers = {"vLLM": watched(lambda: bench.by_engine("vLLM", vllm_engine, prompts, samples), loads["vLLM"])}
    for at_once in sorted({min(rows, most) for most in AT_ONCE}):
        generate = partial(bench.by_generate, prompts, samples, at_once)
        peers[f"generate, {at_once} rows"] = watched(generate, loads["generate"])
    own, others = alternate(ours, peers, options.rounds, "tokens/s")
    for name, lengths in bench.lengths.items():
        print(f"mean length, {name}: {statistics.fmean(lengths):.1f} tokens")
    for name, load in loads.items():
        print(f"cores used, {name}: " + ", ".join(f"{cores:.2f}" for cores in load), flush=True)
    by_vllm = others.pop("vLLM")
    by_generate = max(others.values(), key=statistics.median)
    unit = "tokens/CPU second" if options.clock == "cpu" else "tokens/s"
    generate_version = f"transformers {transformers.__version__} generate"
    return [
        entry(
            f"Rollouts, {size} parameters, against generate",
            own,
            by_generate,
            generate_version,
            unit,
            "",
            True,
        ),
        entry(f"Rollouts, {size} parameters, against vLLM", own, by_vllm, vllm_version(), unit, "", True),
    ]


def watched(run: Callable[[], float], loads: list[float]) -> Callable[[], float]:
    """Notes the CPU seconds per wall-clock second."""

    def watching() -> float:
        wall, processor = time.perf_counter(), time.process_time()
        speed = run()
        loads.append((time.process_time() - processor) / (time.perf_counter() - wall))
        return speed

    return watching


def vllm_version() -> str:
    import vllm

    return f"vLLM {vllm.__version__} on the CPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            record(compare(size, Path(folder), options))


if __name__ == "__main__":
    main()
