"""The options of `xreasoner eval`, as a recipe or as changes to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xreasoner.recipe.file import check, override_into, read_raw
from xreasoner.recipe.schema import Recipe

INSTRUCTION = (
    "Reason step by step within <think> </think>. Then give the final answer within <answer> </answer>"
    "{options:; exactly one of the options, as in <answer>B: No</answer>}."
)
"""The form in which the released model answers."""


@dataclass(frozen=True)
class EvalOptions:
    """None and empty values leave a setting to the recipe or its default."""

    benchmarks: Sequence[str] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)
    count: int | None = None
    samples: int | None = None
    budgets: Sequence[int] = ()
    without_image: bool = False
    asked: Sequence[str] = ()
    """The prompts to ask with."""
    scorer: str | None = None
    """Of the user's own benchmarks."""
    server: str | None = None
    overrides: Sequence[str] = ()


def recipe_from_options(model: str, wish: EvalOptions, recipe: Path | None) -> Recipe:
    """The settings of `recipe` with the options applied."""
    if recipe is None and not wish.benchmarks:
        raise ValueError("nothing to evaluate: name benchmarks with --bench or a recipe with --recipe")
    raw: dict[str, Any] = {"name": "eval", "model": model, "instruction": INSTRUCTION}
    if recipe is not None:
        raw = read_raw(recipe, (), "recipe")[0]
    raw["evaluation"] = {**(raw.get("evaluation") or {}), **evaluation_settings(model, wish)}
    changed = {".".join(override_into(raw, override)): override for override in wish.overrides}
    return check(raw, str(recipe or "xreasoner eval"), changed)


def evaluation_settings(model: str, wish: EvalOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if wish.benchmarks:
        settings["benchmarks"] = [entry(name, wish) for name in wish.benchmarks]
    elif wish.asked:
        raise ValueError("--asked: it is for --bench; for a recipe's benchmarks use its key `asked`")
    elif wish.count is not None:
        raise ValueError(
            f"--count {wish.count}: it counts items of --bench; for a recipe's own benchmarks "
            f"use evaluation.benchmarks.0.count={wish.count}"
        )
    unasked = set(wish.paths) - set(wish.benchmarks)
    if unasked:
        raise ValueError(f"--path-of {min(unasked)}: --bench does not name it")
    if wish.samples is not None:
        settings["samples"] = wish.samples
    if wish.budgets:
        settings |= {"think_budget": max(wish.budgets), "budgets": sorted(set(wish.budgets))[:-1]}
    if wish.without_image:
        settings["blind"] = True
    if wish.server:
        settings |= {"engine": "server", "server": {"url": wish.server, "model": model}}
    return settings


def entry(name: str, wish: EvalOptions) -> dict[str, Any]:
    """An entry of `evaluation.benchmarks`."""
    found: dict[str, Any] = {"source": "benchmark", "name": name}
    if name == "probe":
        found = {"source": "probe"}
    if ":" in name:
        found = {"source": "python", "function": name, "name": module_name(name), "scorer": wish.scorer}
    if name in wish.paths:
        found["path"] = str(wish.paths[name])
    if wish.asked and name != "probe":
        found["asked"] = list(wish.asked)
    if wish.count is not None:
        found["count"] = wish.count
    return found


def module_name(function: str) -> str:
    """`my_bench` of `my_bench.py:make` and of `my_package.my_bench:make`."""
    place = function.rpartition(":")[0]
    return Path(place).stem if place.endswith(".py") else place.rpartition(".")[2]


def read_paths(written: Sequence[str]) -> dict[str, Path]:
    """Parses `name=FOLDER` entries."""
    for one in written:
        if not all(part.strip() for part in one.partition("=")):
            raise ValueError(f"--path-of {one}: it has the form name=FOLDER, as in mmmu-pro=/data/mmmu-pro")
    return {one.partition("=")[0].strip(): Path(one.partition("=")[2].strip()) for one in written}


def read_budgets(written: str | None) -> list[int]:
    """Parses `256,1024,4096`."""
    parts = [part.strip() for part in (written or "").split(",") if part.strip()]
    wrong = next((part for part in parts if not part.isdecimal()), None)
    if wrong:
        raise ValueError(
            f"--budgets {written}: {wrong!r} is not a number of tokens; write --budgets 256,1024,4096"
        )
    return [int(part) for part in parts]
