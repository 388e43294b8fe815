"""The plan of a run: the stages of a recipe with their data, compared with what the run directory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from xreasoner import __version__
from xreasoner.data.prepare import removes_leaks, stage_problems
from xreasoner.data.sources import problems_fingerprint, refuse_leaks
from xreasoner.evals.recipe_benchmarks import recipe_benchmarks
from xreasoner.evals.task import Benchmark
from xreasoner.models.config import has_vision
from xreasoner.models.resolve import resolve_model
from xreasoner.recipe.schema import BASE, Recipe, Stage
from xreasoner.records import Problem
from xreasoner.storage.journal import Say
from xreasoner.storage.run_folder import Manifest, first_difference, folder_fingerprint, read_manifest

Standing = Literal["new", "done", "resumed", "changed"]

WITHOUT_EFFECT = {"start", "checkpoint_every", "samples_every"}
"""Settings that do not change the trained weights."""


@dataclass(frozen=True)
class PlannedStage:
    name: str
    settings: Stage
    start: str
    """The stage whose checkpoint it starts from, or `base`."""
    folder: Path
    problems: Sequence[Problem]
    manifest: Manifest
    """The wanted manifest; for a stage that is done or resumed, the one found on disk."""
    standing: Standing
    why: str = ""
    """For a changed stage, the first setting that differs."""


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    base: Path
    base_fingerprint: str
    sees: bool
    """Whether the model has a vision tower, which training does not touch."""
    stages: tuple[PlannedStage, ...]
    benchmarks: tuple[Benchmark, ...]

    @property
    def run_dir(self) -> Path:
        return self.recipe.run_dir

    def text_model(self, name: str) -> Path:
        """The text-only checkpoint that training reads or writes."""
        if name == BASE:
            return self.run_dir / "base" / "model" if self.sees else self.base
        return stage_folder(self.recipe, name) / "model"

    def checkpoint(self, name: str) -> Path:
        """The checkpoint that is evaluated; a vision-language model includes its vision tower."""
        if name == BASE:
            return self.base
        return stage_folder(self.recipe, name) / ("checkpoint" if self.sees else "model")

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each checkpoint of the run, in order."""
        return {BASE: self.base_fingerprint} | {
            stage.name: stage.manifest.fingerprint for stage in self.stages
        }

    def is_evaluated(self, stage: str) -> bool:
        after = self.recipe.evaluation.after
        return after is None or stage in after


def make_plan(recipe: Recipe, say: Say = lambda line: None) -> Plan:
    """`say` gets progress messages of data preparation."""
    base = resolve_model(recipe.model)
    sees = has_vision(base)
    prints = {BASE: folder_fingerprint(base)}
    benchmarks = recipe_benchmarks(recipe.evaluation, recipe.instruction)
    refuse_unseeable(benchmarks, base)
    asked = {one.name: one.problems for one in benchmarks}
    stages = []
    for name in recipe.stages:
        problems = stage_problems(recipe, name, base, asked, say)
        stage = plan_stage(recipe, name, prints[recipe.start_of(name)], problems)
        prints[name] = stage.manifest.fingerprint
        stages.append(stage)
    as_given = [stage for stage in stages if not removes_leaks(stage.settings)]
    refuse_leaks((problem for stage in as_given for problem in stage.problems), asked)
    return Plan(recipe, base, prints[BASE], sees, tuple(stages), benchmarks)


def stage_data(recipe: Recipe, names: Sequence[str], say: Say) -> Iterator[tuple[str, Sequence[Problem]]]:
    """The training problems of these stages; data of other stages is not prepared."""
    for name in names:
        recipe.stage(name)  # raises if there is no such stage
    base = resolve_model(recipe.model)
    benchmarks = recipe_benchmarks(recipe.evaluation, recipe.instruction)
    asked = {one.name: one.problems for one in benchmarks}
    for name in names:
        yield name, stage_problems(recipe, name, base, asked, say)


def plan_stage(
    recipe: Recipe, name: str, start_fingerprint: str, problems: Sequence[Problem]
) -> PlannedStage:
    settings = recipe.stages[name]
    made_from = {
        "version": __version__,
        "start": start_fingerprint,
        "seed": recipe.seed,
        "instruction": recipe.instruction,
        "settings": settings.model_dump(mode="json", by_alias=True, exclude=WITHOUT_EFFECT),
        "data": problems_fingerprint(problems),
    }
    folder = stage_folder(recipe, name)
    found, manifest = read_manifest(folder), Manifest(made_from)
    standing, why = standing_of(found, manifest)
    if found is not None and standing in ("done", "resumed"):
        manifest = found
    return PlannedStage(name, settings, recipe.start_of(name), folder, problems, manifest, standing, why)


def standing_of(found: Manifest | None, wanted: Manifest) -> tuple[Standing, str]:
    if found is None:
        return "new", ""
    if found.fingerprint != wanted.fingerprint:
        return "changed", first_difference(found.made_from, wanted.made_from) or ""
    return ("done" if found.state == "done" else "resumed"), ""


def refuse_unseeable(benchmarks: Sequence[Benchmark], checkpoint: Path) -> None:
    images = [one.name for one in benchmarks if one.modality == "image"]
    if images and not has_vision(checkpoint):
        raise ValueError(
            f"{checkpoint}: this model is text-only, but the benchmark {images[0]} has images; remove it"
        )


def stage_folder(recipe: Recipe, name: str) -> Path:
    number = [BASE, *recipe.stages].index(name)
    return recipe.run_dir / "stages" / f"{number}-{name}"


def print_plan(plan: Plan, console: Console) -> None:
    recipe = plan.recipe
    console.print(
        f"{recipe.name}: {recipe.model}, seed {recipe.seed}, in {plan.run_dir}", style="bold", highlight=False
    )
    console.print(stage_table(plan))
    for benchmark in plan.benchmarks:
        console.print(
            f"  benchmark {benchmark.name}: {len(benchmark.problems):,} problems, {benchmark.modality}"
            + (f", {len(benchmark.broken):,} more that are broken" if benchmark.broken else ""),
            highlight=False,
        )
    if recipe.about_minutes is not None:
        console.print(f"Expected time: about {recipe.about_minutes:g} minutes.", highlight=False)


def stage_table(plan: Plan) -> Table:
    table = Table("stage", "from", "training", "problems", "evaluated", "status", box=None)
    table.add_row(BASE, "", "", "", _yes(plan.is_evaluated(BASE)), "")
    for stage in plan.stages:
        table.add_row(
            stage.name,
            stage.start,
            f"{stage.settings.kind}, {length_of(stage.settings)}",
            f"{len(stage.problems):,}",
            _yes(plan.is_evaluated(stage.name)),
            f"will be retrained: {stage.why}" if stage.standing == "changed" else stage.standing,
        )
    return table


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def length_of(settings: Stage) -> str:
    return f"{settings.steps:,} steps" if settings.steps is not None else f"{settings.epochs:g} epochs"
