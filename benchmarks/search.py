"""Thoughts that search: what the forced exit is worth at each budget, and what RL does to their length.

    OMP_NUM_THREADS=1 python benchmarks/search.py OUT [KEY=VALUE ...]

Runs recipes/search.yaml into OUT (what is done is kept) and prints three tables, in % and tokens: accuracy by
budget with and without the forced exit, both views and all difficulties together; length by difficulty; and
the answers that GRPO sampled along its training. Without the forced exit a thought that has not ended within
its budget has no answer.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console

from xreasoner.evals.samples import Sample, read_answers
from xreasoner.miniworld.problems import make_problems
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import Recipe

SEARCH = Path(__file__).parent.parent / "recipes" / "search.yaml"
DIFFICULTIES, VIEWS = (1, 2, 3, 4), ("text", "image")


def percent(flags: Sequence[bool]) -> str:
    return f"{100 * fmean(flags):.0f}"


def answers(run: Path, stage: str, difficulty: int, view: str, budget: str = "") -> tuple[Sample, ...]:
    name = f"search-{difficulty}-signs-{view}.jsonl"
    return read_answers(run / "evals" / stage / budget / name).samples


def by_budget(run: Path, recipe: Recipe) -> Iterator[str]:
    yield "| stage | budget | with forced exit | without | thoughts that did not end |"
    yield "|---|---|---|---|---|"
    folders = {budget: f"budget-{budget}" for budget in sorted(recipe.evaluation.budgets)}
    for stage in recipe.stages:
        for budget, folder in (folders | {recipe.evaluation.think_budget: ""}).items():
            found = [
                sample
                for difficulty in DIFFICULTIES
                for view in VIEWS
                for sample in answers(run, stage, difficulty, view, folder)
            ]
            right = [sample.score.correct is True for sample in found]
            alone = [ok and not sample.forced for ok, sample in zip(right, found, strict=True)]
            forced = [sample.forced for sample in found]
            yield f"| {stage} | {budget} | {percent(right)} | {percent(alone)} | {percent(forced)} |"


def by_difficulty(run: Path, recipe: Recipe) -> Iterator[str]:
    yield (
        "| steps, view | written thought | "
        + " | ".join(f"{stage}: tokens | did not end | right" for stage in recipe.stages)
        + " |"
    )
    yield "|---" * (2 + 3 * len(recipe.stages)) + "|"
    for view in VIEWS:
        for difficulty in DIFFICULTIES:
            written = make_problems("signs", "text", (difficulty, difficulty), 100, "dev", 0)
            cells = [f"{fmean(len(problem.reasoning.split()) for problem in written):.0f}"]
            for stage in recipe.stages:
                found = answers(run, stage, difficulty, view)
                cells.append(f"{fmean(sample.think_tokens for sample in found):.0f}")
                cells.append(percent([sample.forced for sample in found]))
                cells.append(percent([sample.score.correct is True for sample in found]))
            yield f"| {difficulty}, {view} | {' | '.join(cells)} |"


def steps_of(question: str) -> int:
    """`[ 7 3 2 ] work out 6` has one step: two numbers to sign."""
    scene = re.search(r"\[ (.*?) \]", question)
    assert scene
    return len(scene.group(1).split()) - 2


def along_training(run: Path) -> Iterator[str]:
    """Sampled at temperature 1 with the budget of training."""
    yield "| GRPO step | steps of the problem | tokens | did not end | right |"
    yield "|---|---|---|---|---|"
    for file in sorted((run / "stages").glob("*-rl/samples/step-*.jsonl")):
        found = defaultdict[int, list[dict[str, Any]]](list)
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[steps_of(row["question"])].append(row)
        for steps, rows in sorted(found.items()):
            tokens = fmean(row["think_tokens"] for row in rows)
            forced, right = (
                percent([row["forced"] for row in rows]),
                percent([row["correct"] for row in rows]),
            )
            yield f"| {int(file.stem[5:])} | {steps} | {tokens:.0f} | {forced} | {right} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings of the recipe: rl.steps=20")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read_recipe(SEARCH, [*wanted.overrides, f"out={wanted.out}"])
    run_recipe(recipe, Console(quiet=True), [])
    for lines in (
        by_budget(wanted.out, recipe),
        by_difficulty(wanted.out, recipe),
        along_training(wanted.out),
    ):
        print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
