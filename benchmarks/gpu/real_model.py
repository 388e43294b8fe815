"""A real model on real questions: accuracy on GSM8K's test set before and after recipes/gsm8k-0.5b.yaml."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.gpu.suite import Check, Line, Machine, Part, at_least, measured
from rich.console import Console

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "gsm8k-0.5b.yaml"
SMALL = (
    *("rl.steps=2", "rl.prompts_per_step=2", "rl.samples_per_prompt=2", "rl.think_budget=8"),
    *("rl.answer_budget=4", "evaluation.think_budget=8", "evaluation.answer_budget=4"),
    *("evaluation.benchmarks.0.count=2", "evaluation.benchmarks.0.any_size=true", "rl.filters=null"),
)
"""What --tiny changes."""


@dataclass(frozen=True)
class Folders:
    model: Path
    """A language model of about 0.5B parameters, as Hugging Face stores it."""
    gsm8k: Path
    """With train.jsonl and test.jsonl."""


def measure(folders: Folders, machine: Machine) -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as out:
        changes = [
            f"model={folders.model.resolve()}",
            f"out={out}",
            f"rl.data.0.path={folders.gsm8k.resolve() / 'train.jsonl'}",
            f"evaluation.benchmarks.0.path={folders.gsm8k.resolve() / 'test.jsonl'}",
            *(SMALL if machine.tiny else ()),
        ]
        recipe = read_recipe(RECIPE, changes)
        seconds = machine.seconds(lambda: run_recipe(recipe, Console(quiet=True)))
        results = json.loads((Path(out) / "results.json").read_text())
        steps = [json.loads(line) for line in next(Path(out).glob("stages/*/metrics.jsonl")).open()]
    for result in results["results"]:
        interval = f"95% interval {result['low']:.3f} to {result['high']:.3f}, {result['n']} questions"
        yield measured(f"{result['benchmark']} of {result['stage']}", result["accuracy"], "", interval)
    for one in results["comparisons"]:
        note = f"95% interval {one['low']:+.3f} to {one['high']:+.3f}, p {one['p']:.2g}"
        yield at_least(f"{one['benchmark']}, gain", one["difference"], 0.0, note=note)
    tenth = max(1, len(steps) // 10)
    for name, part in (("first", steps[:tenth]), ("last", steps[-tenth:])):
        mean = sum(step["reward"] for step in part) / tenth
        yield measured(f"reward of the {name} steps", mean, "", f"{tenth} of {len(steps)}")
    for kind in ("rollout_seconds", "update_seconds"):
        yield measured(kind.replace("_", " "), sum(step[kind] for step in steps), "s")
    yield measured("whole run, evaluations included", seconds, "s")


def part(folders: Folders) -> Part:
    return Part("real", 600, [Check("gsm8k-0.5b", partial(measure, folders), seconds=400)])
