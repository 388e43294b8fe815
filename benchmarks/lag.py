"""GRPO with rollouts from a vLLM server: 20 steps that wait for each other against `max_lag: 1`.

    make test-vllm   # makes the environment
    xreasoner run recipes/quickstart.yaml rl=null med-sft=null med-rl=null
    OMP_NUM_THREADS=1 PYTHONPATH=.:tests/vllm/site .venv-vllm/bin/python benchmarks/lag.py \\
        runs/quickstart/stages/1-sft/model [--seeds 0 1 2] [--steps 20] [--prompts 12]

The stage is the quickstart's, with fewer prompts a step. One server for all runs, in a process of its own on
this machine; each run first sends it the weights that training starts from. Both lags of a seed run one after
the other, in alternating order. `hidden`: seconds of sampling and grading that no update waited for.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.vllm.servers import serving_policy

from xreasoner.data.sources import training_problems
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import GrpoStage
from xreasoner.recipe.settings import ServerSettings
from xreasoner.train.grpo import train_grpo
from xreasoner.train.step_display import NoDisplay

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
LAST = 10
LAGS = (0, 1)


@dataclass(frozen=True)
class Run:
    wall: float
    processor: float
    """CPU seconds of the trainer; the server's are not in it."""
    lines: Sequence[dict[str, float]]

    def total(self, name: str) -> float:
        return sum(line.get(name, 0.0) for line in self.lines)

    @property
    def hidden(self) -> float:
        return self.total("sampling_seconds") - self.total("rollout_seconds")

    @property
    def last(self) -> float:
        return statistics.fmean(line["reward"] for line in self.lines[-LAST:])

    def __str__(self) -> str:
        first = statistics.fmean(line["reward"] for line in self.lines[:LAST])
        shown = f"wall {self.wall:.1f} s (trainer {self.processor:.1f} CPU s), "
        shown += f"waited for rollouts {self.total('rollout_seconds'):.1f} s, "
        shown += f"updates {self.total('update_seconds'):.1f} s, "
        if self.total("sampling_seconds"):
            sampling = self.total("sampling_seconds")
            shown += f"sampling {sampling:.1f} s, hidden {self.hidden:.1f} s ({self.hidden / sampling:.0%}), "
        shown += f"reward {first:.3f} -> {self.last:.3f}, "
        return shown + f"largest mismatch {max(line['mismatch'] for line in self.lines):.4f}"


class Comparison:
    def __init__(self, start: Path, prompts: int) -> None:
        self._start, self._recipe = start, read_recipe(RECIPE)
        stage = self._recipe.stages["rl"]
        assert isinstance(stage, GrpoStage)
        self._stage, self._prompts = stage, prompts
        self._problems = training_problems(stage.data, self._recipe.seed)

    def train(self, server: ServerSettings, lag: int, seed: int, steps: int) -> Run:
        changes: dict[str, Any] = {"rollout": "server", "server": server, "max_lag": lag}
        changes |= {"steps": steps, "prompts_per_step": self._prompts}
        rarely = {"checkpoint_every": 10_000, "samples_every": 10_000}
        settings = self._stage.model_copy(update=changes | rarely)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            wall, processor = time.perf_counter(), time.process_time()
            train_grpo(
                settings, self._start, self._problems, [], out, seed, NoDisplay(), self._recipe.instruction
            )
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return Run(wall, processor, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    comparison = Comparison(options.start, options.prompts)
    runs: dict[int, list[Run]] = {lag: [] for lag in LAGS}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_policy(options.start, Path(folder) / "log") as server,
    ):
        server = server.model_copy(update={"concurrency": 32})
        comparison.train(server, 0, seed=99, steps=2)  # warms the server up
        for number, seed in enumerate(options.seeds):
            for lag in LAGS if number % 2 == 0 else LAGS[::-1]:
                runs[lag].append(comparison.train(server, lag, seed, options.steps))
                print(f"seed {seed}, max_lag {lag}: {runs[lag][-1]}", flush=True)
    report(runs)


def report(runs: dict[int, list[Run]]) -> None:
    ratios = [now.wall / ahead.wall for now, ahead in zip(runs[0], runs[1], strict=True)]
    print("wall, lag 0 / lag 1:", ", ".join(f"{ratio:.2f}" for ratio in ratios))
    print("reward by steps of five, mean over seeds:")
    for lag, found in runs.items():
        curve = [
            statistics.fmean(run.lines[step]["reward"] for run in found)
            for step in range(len(found[0].lines))
        ]
        fives = [statistics.fmean(curve[at : at + 5]) for at in range(0, len(curve), 5)]
        print(f"  max_lag {lag}:", ", ".join(f"{value:.3f}" for value in fives))
    last = {lag: [run.last for run in found] for lag, found in runs.items()}
    print(f"reward of the last {LAST} steps: {last}")


if __name__ == "__main__":
    main()
