"""Collects a run directory's evaluations and comparisons for `results.json` and the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from xreasoner.data.hub import pinned_revisions
from xreasoner.evals.benchmarks.catalogue import AVERAGES
from xreasoner.evals.comparisons import (
    BLIND,
    Comparison,
    References,
    Subset,
    compare_stages,
    corrected,
)
from xreasoner.evals.samples import Answers, read_answers, read_result
from xreasoner.evals.summary import Summary, summarise
from xreasoner.evals.task import ResultRole, asked_stages, is_asked, is_repeated, name_with_prompt
from xreasoner.recipe.schema import BASE
from xreasoner.records import Modality
from xreasoner.report.budget_curves import BudgetResult, read_budgets
from xreasoner.report.groups import GroupResult, group_results, official_average
from xreasoner.report.prompts import PromptGain, prompt_gains
from xreasoner.storage.environment import installed_versions
from xreasoner.storage.files import write_json
from xreasoner.storage.run_folder import read_manifest, stage_folders

PICTURES = "pictures"


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
    prompt: str = ""
    """The name of its prompt, if it was asked with several."""
    references: References | None = field(default=None, repr=False)
    """Answers without images; None if there are none."""

    @property
    def is_repeated(self) -> bool:
        return is_repeated(self.name, self.prompt)

    @property
    def subsets(self) -> tuple[Subset, ...]:
        return ("all", "image-needed") if self.references else ("all",)

    def answers(
        self, subset: Subset, stages: Sequence[str], least_right: int | None = None
    ) -> dict[str, Answers]:
        """Of these stages, on all items or on those that need the image; empty if that is not known.

        Which items need the image depends on the stages to be compared.
        """
        chosen = {stage: self.by_stage[stage] for stage in stages if stage in self.by_stage}
        if subset == "all" or self.references is None:
            return chosen
        judges = self.references.judges_for(list(chosen))
        if judges is None:
            return {}
        kept = {stage: judges.needing_image(one, least_right) for stage, one in chosen.items()}
        return {stage: one for stage, one in kept.items() if one.samples}


@dataclass(frozen=True)
class NeedsImage:
    """How many items need the image if `least_right` samples without it make one text-solvable."""

    benchmark: str
    judges: str
    """`references`, or `stages` if the compared stages judge."""
    samples: int
    """Of an item without its image, per judge."""
    least_right: int | None
    """None: more than guessing explains, which depends on the number of options."""
    n: int
    accuracy: Mapping[str, float]
    """Of each stage on the items kept."""


@dataclass(frozen=True)
class Results:
    run: str
    recipe: str
    wall_seconds: float
    versions: Mapping[str, str]
    data_revisions: Mapping[str, str]
    """The commit of each dataset of the hub."""
    stages: tuple[str, ...]
    parents: Mapping[str, str]
    """The stage that each stage was trained from."""
    rows: tuple[StageResult, ...]
    comparisons: tuple[Comparison, ...]
    budgets: tuple[BudgetResult, ...]
    """Of benchmarks with shorter thinking budgets."""
    conditions: Mapping[str, Mapping[str, Any]]
    """Of each stage's evaluation: engine, precision, attention, pixels, device, versions, data revisions."""
    groups: tuple[GroupResult, ...]
    """By the tags of the items."""
    needs_image: tuple[NeedsImage, ...]
    """Of benchmarks that were also asked without images."""
    prompt_gains: tuple[PromptGain, ...]
    """Of benchmarks that were asked with several prompts."""
    evaluated: tuple[Evaluated, ...] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "recipe": self.recipe,
            "wall_seconds": self.wall_seconds,
            "versions": dict(self.versions),
            "data_revisions": dict(self.data_revisions),
            "results": [row_as_json(row) for row in self.rows],
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "budgets": [asdict(row) for row in self.budgets],
            "conditions": {stage: dict(found) for stage, found in self.conditions.items()},
            "groups": [asdict(row) for row in self.groups],
            "needs_image": [asdict(row) for row in self.needs_image],
            "prompt_gains": [row.as_json() for row in self.prompt_gains],
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
    evaluated = with_references(evaluated, references or named)
    parents = stage_parents(run_dir, stages)
    seen = {stage for one in evaluated for stage in one.by_stage}
    return Results(
        run=run_dir.resolve().name,
        recipe=str(read_recipe(run_dir).get("name", "")),
        wall_seconds=wall_seconds(run_dir),
        versions=installed_versions(),
        data_revisions=pinned_revisions(run_dir),
        stages=tuple(stage for stage in stages if stage in seen),
        parents=parents,
        rows=(*rows_of(evaluated), *average_rows(evaluated)),
        comparisons=tuple(corrected(list(comparisons_of(evaluated, parents)))),
        budgets=tuple(read_budgets(run_dir, stages)),
        conditions={stage: found for stage in stages if (found := conditions_of(run_dir / "evals" / stage))},
        groups=tuple(
            row
            for one in evaluated
            if one.role != "blind"
            for stage, answers in one.by_stage.items()
            for row in group_results(one.name, stage, answers)
        ),
        needs_image=tuple(row for one in evaluated for row in thresholds(one)),
        prompt_gains=tuple(prompt_gains_of(evaluated)),
        evaluated=tuple(evaluated),
    )


def rows_of(evaluated: Sequence[Evaluated]) -> Iterator[StageResult]:
    for one in evaluated:
        for subset in one.subsets:
            for stage, answers in one.answers(subset, list(one.by_stage)).items():
                yield row_of(one, stage, subset, summarise(answers))


def average_rows(evaluated: Sequence[Evaluated]) -> Iterator[StageResult]:
    by_name = {one.name: one for one in evaluated}
    for name, parts in AVERAGES.items():
        if all(part in by_name for part in parts):
            for stage in by_name[parts[0]].by_stage:
                asked = {part: by_name[part].by_stage for part in parts}
                summary = official_average(name, {part: s[stage] for part, s in asked.items() if stage in s})
                if summary is not None:
                    yield row_of(replace(by_name[parts[0]], name=name), stage, "all", summary)


def comparisons_of(evaluated: Sequence[Evaluated], parents: Mapping[str, str]) -> Iterator[Comparison]:
    for one in evaluated:
        for subset in one.subsets:
            answers_of = partial(one.answers, subset)
            yield from compare_stages(one.name, list(one.by_stage), parents, answers_of, subset)


def thresholds(one: Evaluated) -> Iterator[NeedsImage]:
    """The default, then 1, 2, 4, ... right samples, to show how much depends on it."""
    stages = list(one.by_stage)
    judges = one.references.judges_for(stages) if one.references else None
    if judges is None:
        return
    counts = [2**power for power in range(judges.samples.bit_length())] if judges.samples > 1 else []
    for least_right in (None, *counts):
        answers = one.answers("image-needed", stages, least_right)
        summaries = {stage: summarise(kept) for stage, kept in answers.items()}
        yield NeedsImage(
            one.name,
            "stages" if judges.are_compared else "references",
            judges.samples,
            least_right,
            max((summary.n for summary in summaries.values()), default=0),
            {stage: summary.accuracy for stage, summary in summaries.items()},
        )


def row_as_json(row: StageResult) -> dict[str, Any]:
    """An accuracy over no items is null."""
    unknown = {} if row.scored else dict.fromkeys(("accuracy", "low", "high"))
    return asdict(row) | unknown


def prompt_gains_of(evaluated: Sequence[Evaluated]) -> Iterator[PromptGain]:
    """Of each benchmark that was asked with several prompts."""
    for first in evaluated:
        if first.prompt and not first.is_repeated:
            same = {
                one.prompt: one.by_stage
                for one in evaluated
                if one.name in (first.name, name_with_prompt(first.name, one.prompt))
            }
            yield from prompt_gains(first.name, same)


def write_results(results: Results, path: Path) -> None:
    write_json(path, results.as_json())


def stage_order(run_dir: Path) -> list[str]:
    """The base, the stages of the run in order, then other evaluated models."""
    trained = stage_folders(run_dir)
    known = [BASE, *(stage for stage in asked_stages(run_dir) or trained if stage in trained)]
    found = sorted(path.name for path in (run_dir / "evals").glob("*/") if path.name != PICTURES)
    return known + [stage for stage in found if stage not in known and stage not in trained]


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
        for path in (
            path for path in paths if path.with_suffix(".jsonl").exists() and is_asked(run_dir, path.stem)
        ):
            summary = read_result(path)
            facts.setdefault(path.stem, summary)
            by_name.setdefault(path.stem, {})[stage] = read_answers(path.with_suffix(".jsonl"))
    found = [
        Evaluated(
            name,
            facts[name]["modality"],
            facts[name]["domain"],
            facts[name]["role"],
            by_stage,
            facts[name].get("prompt", ""),
        )
        for name, by_stage in by_name.items()
    ]
    return sorted(found, key=lambda one: (one.domain != "general", one.domain, one.modality, one.name))


def with_references(evaluated: Sequence[Evaluated], names: Sequence[str]) -> list[Evaluated]:
    """`names` are stages or folders of other runs; without any, compared stages judge each other."""
    blind = {one.name.removesuffix(BLIND): one.by_stage for one in evaluated if one.role == "blind"}
    stages = {stage for one in evaluated for stage in one.by_stage}
    runs = [Path(name) for name in names if name not in stages]
    for folder in runs:
        if not (folder / "evals").is_dir():
            raise ValueError(f"reference {folder}: neither a stage of this run nor a run directory")
    found = []
    for one in evaluated:
        paths = [path for run in runs for path in sorted(run.glob(f"evals/*/{one.name}{BLIND}.jsonl"))]
        if one.role == "skill" and (one.name in blind or paths):
            outside = tuple(map(read_answers, paths))
            one = replace(one, references=References(blind.get(one.name, {}), tuple(names), outside))
        found.append(one)
    return found


def row_of(one: Evaluated, stage: str, subset: Subset, summary: Summary) -> StageResult:
    return StageResult(
        **vars(summary),
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


def conditions_of(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        return {}
    method = {name: value for name, value in manifest.made_from.items() if name != "checkpoint"}
    return {**method, **manifest.execution}


def wall_seconds(run_dir: Path) -> float:
    """The total of all stages and evaluations."""
    manifests = [read_manifest(path.parent) for path in sorted(run_dir.glob("*/*/manifest.json"))]
    return float(sum(manifest.seconds for manifest in manifests if manifest))
