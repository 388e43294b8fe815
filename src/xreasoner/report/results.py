"""Collects a run directory's evaluations and comparisons for `results.json` and the page."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from xreasoner.evals.comparisons import (
    BLIND,
    Comparison,
    Subset,
    compare_stages,
    corrected,
    image_needed,
    text_solvable,
)
from xreasoner.evals.samples import Answers, read_answers
from xreasoner.evals.summary import Summary, summarise
from xreasoner.evals.task import ResultRole
from xreasoner.records import Modality
from xreasoner.report.budget_curves import BudgetResult, read_budgets
from xreasoner.storage.files import write_json

BASE = "base"
PICTURES = "pictures"
PACKAGES = ("xreasoner", "torch", "transformers", "math-verify")


@dataclass(frozen=True, kw_only=True)
class StageResult(Summary):
    """A stage's result on a benchmark."""

    stage: str
    benchmark: str
    modality: Modality
    domain: str
    role: ResultRole
    subset: Subset


@dataclass(frozen=True)
class Evaluated:
    """A benchmark with the answers of each stage, in the order of the run."""

    name: str
    modality: Modality
    domain: str
    role: ResultRole
    by_stage: Mapping[str, Answers] = field(repr=False)


@dataclass(frozen=True)
class Results:
    run: str
    recipe: str
    wall_seconds: float
    versions: Mapping[str, str]
    stages: tuple[str, ...]
    parents: Mapping[str, str]
    """The stage that each stage was trained from."""
    rows: tuple[StageResult, ...]
    comparisons: tuple[Comparison, ...]
    budgets: tuple[BudgetResult, ...]
    """Of benchmarks with shorter thinking budgets."""
    solvable: Mapping[str, frozenset[str]] = field(repr=False)
    """Per benchmark the text-solvable items, if it was also asked without images."""
    evaluated: tuple[Evaluated, ...] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "recipe": self.recipe,
            "wall_seconds": self.wall_seconds,
            "versions": dict(self.versions),
            "results": [asdict(row) for row in self.rows],
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "budgets": [asdict(row) for row in self.budgets],
            "text_solvable": {name: len(items) for name, items in self.solvable.items()},
        }


def collect(run_dir: Path, references: Sequence[str] = ()) -> Results:
    """`references` replace those of the recipe: models whose blind answers mark text-solvable items."""
    stages = stage_order(run_dir)
    evaluated = read_evaluations(run_dir, stages)
    if not evaluated:
        raise ValueError(
            f"{run_dir}: no finished evaluation under evals/; run `xreasoner run` or `eval` first"
        )
    named = read_recipe(run_dir).get("evaluation", {}).get("references", ())
    solvable = solvable_items(evaluated, references or named)
    subsets = [(one, subset, by_stage) for one in evaluated for subset, by_stage in subsets_of(one, solvable)]
    parents = stage_parents(run_dir, stages)
    seen = {stage for one in evaluated for stage in one.by_stage}
    return Results(
        run=run_dir.resolve().name,
        recipe=str(read_recipe(run_dir).get("name", "")),
        wall_seconds=wall_seconds(run_dir),
        versions=installed_versions(),
        stages=tuple(stage for stage in stages if stage in seen),
        parents=parents,
        rows=tuple(
            row_of(one, stage, subset, answers)
            for one, subset, by_stage in subsets
            for stage, answers in by_stage.items()
        ),
        comparisons=tuple(
            corrected(
                [
                    comparison
                    for one, subset, by_stage in subsets
                    for comparison in compare_stages(one.name, by_stage, parents, subset)
                ]
            )
        ),
        budgets=tuple(read_budgets(run_dir, stages)),
        solvable=solvable,
        evaluated=tuple(evaluated),
    )


def write_results(results: Results, path: Path) -> None:
    write_json(path, results.as_json())


def stage_folders(run_dir: Path) -> dict[str, Path]:
    """Stage names and their folders `stages/<number>-<name>`, in order."""
    folders = [(re.match(r"(\d+)-(.+)", path.name), path) for path in (run_dir / "stages").glob("*-*")]
    numbered = sorted((int(match[1]), match[2], path) for match, path in folders if match)
    return {name: path for _, name, path in numbered}


def stage_order(run_dir: Path) -> list[str]:
    """The base, the trained stages in order, then other evaluated models."""
    known = [BASE, *stage_folders(run_dir)]
    found = sorted(path.name for path in (run_dir / "evals").glob("*/") if path.name != PICTURES)
    return known + [stage for stage in found if stage not in known]


def stage_parents(run_dir: Path, stages: Sequence[str]) -> dict[str, str]:
    """The stage before, unless the recipe names another."""
    named = read_recipe(run_dir).get("stages") or {}
    return {stage: (named.get(stage) or {}).get("from") or before for before, stage in pairwise(stages)}


def read_evaluations(run_dir: Path, stages: Sequence[str]) -> list[Evaluated]:
    """Finished evaluations only: those with a summary beside their samples."""
    facts: dict[str, dict[str, Any]] = {}
    by_name: dict[str, dict[str, Answers]] = {}
    for stage in stages:
        # Other JSON files, such as a manifest, have no samples beside them.
        paths = sorted((run_dir / "evals" / stage).glob("*.json"))
        for path in (path for path in paths if path.with_suffix(".jsonl").exists()):
            summary = json.loads(path.read_text())
            facts.setdefault(path.stem, summary)
            by_name.setdefault(path.stem, {})[stage] = read_answers(path.with_suffix(".jsonl"))
    found = [
        Evaluated(name, facts[name]["modality"], facts[name]["domain"], facts[name]["role"], by_stage)
        for name, by_stage in by_name.items()
    ]
    return sorted(found, key=lambda one: (one.domain != "general", one.domain, one.modality, one.name))


def solvable_items(
    evaluated: Sequence[Evaluated], references: Sequence[str] = ()
) -> dict[str, frozenset[str]]:
    """Items that any reference (stage or other run; by default all stages) solved without the image."""
    blind = {one.name.removesuffix(BLIND): one for one in evaluated if one.role == "blind"}
    names = {one.name for one in evaluated}
    found = {}
    for name in blind.keys() & names if not references else sorted(names):
        own = blind[name].by_stage if name in blind else {}
        answers = [own[stage] for stage in references or own if stage in own]
        answers += [read_answers(path) for path in blind_answers(name, references, evaluated)]
        if answers:
            found[name] = text_solvable(answers)
    return dict(sorted(found.items()))


def blind_answers(name: str, references: Sequence[str], evaluated: Sequence[Evaluated]) -> list[Path]:
    """Blind answers to this benchmark in referenced runs."""
    stages = {stage for one in evaluated for stage in one.by_stage}
    folders = [Path(reference) for reference in references if reference not in stages]
    for folder in folders:
        if not (folder / "evals").is_dir():
            raise ValueError(f"reference {folder}: neither a stage of this run nor a run directory")
    return [path for folder in folders for path in sorted(folder.glob(f"evals/*/{name}{BLIND}.jsonl"))]


def subsets_of(
    one: Evaluated, solvable: Mapping[str, frozenset[str]]
) -> list[tuple[Subset, Mapping[str, Answers]]]:
    """All items; and those that need the image, if that is known."""
    if one.name not in solvable:
        return [("all", one.by_stage)]
    needed = {stage: image_needed(answers, solvable[one.name]) for stage, answers in one.by_stage.items()}
    return [("all", one.by_stage), ("image-needed", needed)]


def row_of(one: Evaluated, stage: str, subset: Subset, answers: Answers) -> StageResult:
    return StageResult(
        **vars(summarise(answers)),
        stage=stage,
        benchmark=one.name,
        modality=one.modality,
        domain=one.domain,
        role=one.role,
        subset=subset,
    )


def read_recipe(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "recipe.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def wall_seconds(run_dir: Path) -> float:
    """The total of all stages and evaluations."""
    manifests = [json.loads(path.read_text()) for path in sorted(run_dir.glob("*/*/manifest.json"))]
    return float(sum(manifest.get("seconds", 0.0) for manifest in manifests))


def installed_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source folder that was never installed
            continue
    return found
