"""GRPO with rollouts of the torch engine and of vLLM, from one checkpoint: do both learn the same?

    make test-vllm   # makes the environment
    xreasoner run recipes/quickstart.yaml rl=null med-sft=null med-rl=null
    OMP_NUM_THREADS=1 PYTHONPATH=tests/vllm/site .venv-vllm/bin/python benchmarks/grpo_engines.py \\
        runs/quickstart/stages/1-sft/model [--seeds 0 1 2] [--steps 30]

The stage is the quickstart's. Both engines get the same problems in the same order but sample different
answers, so two runs with one seed differ as two seeds do. The torch engine answers the held-out problems for
both, greedily. Seconds are CPU time.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from rollout_vllm import vllm_version
from side_by_side import entry, measure_with, record
from xreasoner.data.sources import training_problems
from xreasoner.miniworld.problems import GENERAL, make_problems
from xreasoner.models.load import load
from xreasoner.parallel import join_world
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import GrpoStage
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import grpo
from xreasoner.train.collect import Collector
from xreasoner.train.step_display import NoDisplay

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
FIRST, LAST = 5, 10


@dataclass(frozen=True)
class Outcome:
    first: float
    """Mean reward of the first steps, and of the last."""
    last: float
    held_out: float
    mismatch: float
    """The largest of any step."""
    seconds: float
    """Of rollouts, per step."""

    def __str__(self) -> str:
        return (
            f"reward {self.first:.3f} -> {self.last:.3f}, held-out accuracy {self.held_out:.3f}, "
            f"mismatch at most {self.mismatch:.1e}, {self.seconds:.1f} CPU s of rollouts per step"
        )


class Comparison:
    def __init__(self, start: Path, steps: int, asked: int) -> None:
        self._start, self._recipe = start, read_recipe(RECIPE)
        stage = self._recipe.stages["rl"]
        assert isinstance(stage, GrpoStage)
        rarely = {"checkpoint_every": 10_000, "samples_every": 10_000}
        self._settings = stage.model_copy(update={"steps": steps, **rarely})
        self._problems = training_problems(stage.data, self._recipe.seed)
        each = asked // len(GENERAL)
        self._held_out = [p for name in GENERAL for p in make_problems(name, "text", (3, 6), each, "test", 0)]
        measure_with("cpu", grpo)

    def train(self, engine: str, seed: int, out: Path) -> Outcome:
        settings = self._settings.model_copy(update={"rollout": engine})
        instruction = self._recipe.instruction
        grpo.train_grpo(settings, self._start, self._problems, [], out, seed, NoDisplay(), instruction)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        rewards = [line["reward"] for line in lines]
        return Outcome(
            statistics.fmean(rewards[:FIRST]),
            statistics.fmean(rewards[-LAST:]),
            self.accuracy(out / "model"),
            max(line["mismatch"] for line in lines),
            statistics.fmean(line["rollout_seconds"] for line in lines),
        )

    def accuracy(self, checkpoint: Path) -> float:
        engine = TorchEngine(load(checkpoint))
        with Grader() as grader, RewardSum(self._settings.rewards, print) as rewards:
            collector = Collector(
                engine, grader, rewards, self._recipe.instruction, self._settings, 0, join_world()
            )
            return collector.accuracy(self._held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--asked", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    comparison = Comparison(options.start, options.steps, options.asked)
    print(f"before: held-out accuracy {comparison.accuracy(options.start):.3f}", flush=True)
    outcomes: dict[str, list[Outcome]] = {"torch": [], "vllm": []}
    for seed in options.seeds:
        for engine, found in outcomes.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(comparison.train(engine, seed, Path(folder)))
            print(f"seed {seed}, {engine}: {found[-1]}", flush=True)
    ours, theirs = outcomes["torch"], outcomes["vllm"]
    peer = f"{vllm_version()} for the rollouts"
    title = f"GRPO with our rollouts or vLLM's, {options.steps} steps"
    columns = {
        f"{title}, reward of the last {LAST}": ([o.last for o in ours], [o.last for o in theirs]),
        f"{title}, held-out accuracy": ([o.held_out for o in ours], [o.held_out for o in theirs]),
    }
    record([entry(name, own, other, peer, "", "1", True) for name, (own, other) in columns.items()])


if __name__ == "__main__":
    main()
