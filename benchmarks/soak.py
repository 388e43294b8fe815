"""GRPO, evaluation and report, over and over in one process: do memory and time a step stay flat?

    OMP_NUM_THREADS=1 nice -n 5 python -m benchmarks.soak --minutes 60 --steps 30

Every round is the same recipe in a new run directory, so its weights must be the same bytes each time. The
memory of this process is also read every few seconds, because some leaks are freed when a stage ends.
"""

import argparse
import gc
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from scipy import stats

from xreasoner.miniworld.model import Size, new_base, save_base
from xreasoner.pipeline import run
from xreasoner.pipeline.run import evaluate_checkpoint
from xreasoner.recipe.file import check
from xreasoner.train.grpo import train_grpo

MIB = 2**20
WARM_UP = 0.1
"""Share of the time whose rounds do not count: imports, caches, plots drawn for the first time."""
FLAT = 1.0
"""Percent in an hour. Growth is excluded where the upper end of the interval is below this."""
SECONDS_BETWEEN_READINGS = 5.0
SIZE = Size(32, 2, 2, 1, 64, vision_hidden=32, vision_layers=1, rope_sections=(0, 1, 7))
DATA = [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 80}]


@dataclass(frozen=True)
class Round:
    hours: float
    """Since the start, at its end."""
    mib: float
    step_ms: float
    """Median of a GRPO step, by the clock."""
    step_cpu_ms: float
    """CPU time of the stage over its steps, held-out problems and states included."""
    evaluation_cpu: float
    """CPU seconds of both evaluations, of the base and of the stage."""
    cpu: float
    """CPU seconds of the round: of this process and of the children that it waited for."""
    children: int
    files: int
    threads: int
    weights: str

    @property
    def was_alone(self) -> bool:
        """Whether it had a processor for itself. Beside others, caches are cold and CPU time is longer."""
        return self.step_ms < 2 * self.step_cpu_ms

    def __str__(self) -> str:
        step = f"{self.step_ms:.0f} | {self.step_cpu_ms:.0f}"
        cpu = f"{self.evaluation_cpu:.2f} | {self.cpu:.2f}"
        measured = f"{self.hours * 60:.1f} | {self.mib:.1f} | {step} | {cpu}"
        return f"{measured} | {self.children} | {self.files} | {self.threads} | {self.weights}"


class Memory:
    """This process's own memory, read by a thread until it is closed."""

    def __init__(self, began: float) -> None:
        self.readings: list[tuple[float, float]] = []
        self._began, self._closed = began, threading.Event()
        self._thread = threading.Thread(target=self._read, name="memory")
        self._thread.start()

    def _read(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_READINGS):
            self.readings.append(((time.monotonic() - self._began) / 3600, own_memory()))

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


def own_memory() -> float:
    """MiB of this process without pages of files, which the system drops and reads again as it likes."""
    resident, of_files = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - of_files) * os.sysconf("SC_PAGE_SIZE") / MIB


def children() -> int:
    tasks = Path("/proc/self/task").glob("*/children")
    return sum(len(task.read_text().split()) for task in tasks)


def processor() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def with_cpu(work: Callable[..., None], cpu: list[float]) -> Callable[..., None]:
    """`work`, which adds its CPU seconds to a list."""

    def measured(*arguments: Any) -> None:
        before = processor()
        work(*arguments)
        cpu.append(processor() - before)

    return measured


def one_round(model: Path, out: Path, steps: int, began: float) -> Round:
    before, training, evaluating = processor(), list[float](), list[float]()
    stage = {
        "kind": "grpo", "data": DATA, "steps": steps, "lr": 1e-3, "prompts_per_step": 4,
        "samples_per_prompt": 4, "think_budget": 16, "answer_budget": 6, "skip_zero_spread": False,
        "held_out": 4, "eval_every": max(1, steps // 4), "samples_every": 4,
        "checkpoint_every": max(1, steps // 4),
    }  # fmt: skip
    evaluation = {
        "think_budget": 24, "answer_budget": 6, "budgets": [8], "samples": 2, "temperature": 1.0, "rows": 16,
        "benchmarks": [{"source": "miniworld", "families": ["sums"], "steps": [1, 3], "count": 40}],
    }  # fmt: skip
    raw = {
        "name": "soak",
        "model": str(model),
        "out": str(out),
        "stages": {"rl": stage},
        "evaluation": evaluation,
    }
    run.train_grpo = with_cpu(train_grpo, training)
    run.evaluate_checkpoint = with_cpu(evaluate_checkpoint, evaluating)
    run.run_recipe(check(raw, "soak"), Console(quiet=True))
    gc.collect()
    metrics = (out / "stages" / "1-rl" / "metrics.jsonl").read_text().splitlines()
    lines = [line for line in map(json.loads, metrics) if "update_seconds" in line]
    weights = (out / "stages" / "1-rl" / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(out)
    return Round(
        (time.monotonic() - began) / 3600,
        own_memory(),
        1000 * statistics.median(line["rollout_seconds"] + line["update_seconds"] for line in lines),
        1000 * training[0] / steps,
        sum(evaluating),
        processor() - before,
        children(),
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        hashlib.sha256(weights).hexdigest()[:8],
    )


def growth(points: list[tuple[float, float]], name: str) -> str:
    """The slope over time with its interval, in percent of the mean in an hour."""
    hours, values = zip(*points, strict=True)
    fit, mean = stats.linregress(hours, values), statistics.fmean(values)
    half = fit.stderr * stats.t.ppf(0.975, len(points) - 2)
    low, high = (100 * (fit.slope + end) / mean for end in (-half, half))
    verdict = "flat" if high < FLAT else "no growth seen" if low <= 0 else "grows"
    return f"| {name} | {mean:,.1f} | {low:+.2f}% to {high:+.2f}% | {len(points)} | {verdict} |"


def kept(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the warm-up."""
    return [point for point in points if point[0] >= WARM_UP * points[-1][0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=40, help="GRPO steps of a round")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    save_base(new_base(0, SIZE)[0], folder / "base")
    began, rounds = time.monotonic(), list[Round]()
    memory = Memory(began)
    print("| minute | MiB | step ms | CPU ms | eval CPU s | CPU s | children | files | threads | weights |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    while time.monotonic() - began < 60 * chosen.minutes or len(rounds) < 4:
        rounds.append(one_round(folder / "base", folder / "out", chosen.steps, began))
        print(f"| {rounds[-1]} |", flush=True)
    memory.close()
    shutil.rmtree(folder)

    print("\n| | mean | growth in an hour, 95% interval | points | |\n|---|---|---|---|---|")
    print(growth(kept(memory.readings), "memory at any moment, MiB"))
    print(growth(kept([(one.hours, one.mib) for one in rounds]), "memory between rounds, MiB"))
    print(growth(kept([(one.hours, one.step_ms) for one in rounds]), "a GRPO step by the clock, ms"))
    print(growth(kept([(one.hours, one.step_cpu_ms) for one in rounds]), "CPU ms of a GRPO step"))
    alone = [one for one in rounds if one.was_alone]
    if len(alone) > 2:
        print(growth([(one.hours, one.step_cpu_ms) for one in alone], "the same, rounds with a processor"))
    print(growth(kept([(one.hours, one.evaluation_cpu) for one in rounds]), "CPU seconds of evaluation"))
    print(growth(kept([(one.hours, one.cpu) for one in rounds]), "CPU seconds of a round"))
    for name in ("children", "files", "threads", "weights"):
        values = sorted({getattr(one, name) for one in rounds[1:]})
        print(f"{name} after each round but the first: {', '.join(map(str, values))}")
    left_open = {(one.children, one.files, one.threads, one.weights) for one in rounds[1:]}
    sys.exit(len(left_open) > 1 or rounds[-1].children > 0)


if __name__ == "__main__":
    main()
