"""Recipes on a tiny model."""

import json
from pathlib import Path

from rich.console import Console

from xreasoner.recipe.file import check
from xreasoner.recipe.schema import Recipe

QUIET = Console(quiet=True)


def recipe(model: Path, out: Path, **stages: dict | None) -> Recipe:
    data = [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 10}]
    sft = {"kind": "sft", "steps": 2, "lr": 0.5, "data": data}
    full = {name: {**sft, **changes} for name, changes in stages.items() if changes is not None}
    return check({"name": "t", "model": str(model), "out": str(out), "stages": full}, "test")


def evaluated(recipe_: Recipe, views: tuple[str, ...] = ("text", "image")) -> Recipe:
    entry = {"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 3, "views": list(views)}
    raw = json.loads(recipe_.model_dump_json(by_alias=True))
    raw["evaluation"] |= {"think_budget": 4, "answer_budget": 2, "benchmarks": [entry]}
    return check(raw, "test")
