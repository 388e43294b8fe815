"""A small run: finished, or stopped while it trains. What it leaves, and how its files are damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import check
from xreasoner.report import budget_curves, curves, plots
from xreasoner.train import sft

QUIET = Console(quiet=True)


class StoppedError(Exception):
    """Stands for a kill."""


def run(model: Path, out: Path, *more_stages: str, console: Console = QUIET, **changes: Any) -> None:
    data = [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 24}]
    stage = {
        "kind": "sft",
        "data": data,
        "filters": {},
        "steps": 4,
        "lr": 3e-3,
        "tokens_per_step": 256,
        "held_out": 3,
        "eval_every": 2,
        "keep_best": True,
        "checkpoint_every": 1,
        **changes,
    }
    benchmark = {"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 3}
    evaluation = {"think_budget": 6, "answer_budget": 3, "budgets": [3], "benchmarks": [benchmark]}
    stages = dict.fromkeys(("sft", *more_stages), stage)
    raw = {"name": "t", "model": str(model), "out": str(out), "stages": stages, "evaluation": evaluation}
    with pytest.MonkeyPatch.context() as patched:
        for module in (curves, plots, budget_curves):  # three quarters of the time, and they leave no files
            patched.setattr(module, "draw", lambda *_, **__: "")
        run_recipe(check(raw, "test"), console)


def run_until_trained(model: Path, out: Path) -> None:
    """Stops after the last step, before the result is written: states and the best checkpoint are there."""

    def stop(*_: object) -> None:
        raise StoppedError

    with pytest.MonkeyPatch.context() as patched, pytest.raises(StoppedError):
        patched.setattr(sft, "write_result", stop)
        run(model, out)


def outcome(out: Path) -> dict[str, bytes]:
    """What a run leaves that must not depend on what happened to it meanwhile."""
    patterns = ("stages/*/model/*", "stages/*/checkpoint/*", "stages/*/samples/*", "base/model/*")
    answers = ("evals/*/*.jsonl", "evals/*/*/*.jsonl", "evals/*/sums-*.json", "evals/pictures/*")
    found = {path for pattern in (*patterns, *answers) for path in out.glob(pattern) if path.is_file()}
    files = {str(path.relative_to(out)): path.read_bytes() for path in found}
    return files | {path: str(lines).encode() for path, lines in metrics(out).items()}


def metrics(out: Path) -> dict[str, list[dict[str, float]]]:
    """Without what a clock says."""
    return {
        str(path.relative_to(out)): [
            {key: value for key, value in json.loads(line).items() if "seconds" not in key}
            for line in path.read_text().splitlines()
        ]
        for path in out.glob("stages/*/metrics.jsonl")
    }


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES: tuple[Callable[[Path], None], ...] = (flip, truncate, empty, Path.unlink)
