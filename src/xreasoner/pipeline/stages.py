"""The plan of a run: the stages of a recipe with their data, compared with what the run directory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from xreasoner.data.hub import pinned_in
from xreasoner.data.prepare import removes_leaks, stage_problems
from xreasoner.data.sources import refuse_leaks
from xreasoner.evals.benchmarks.catalogue_text import read_catalogue
from xreasoner.evals.recipe_benchmarks import recipe_benchmarks
from xreasoner.evals.task import Benchmark
from xreasoner.models.config import context_length, has_vision, read_config
from xreasoner.models.identity import model_identity
from xreasoner.models.image_support import image_tokens, needs_generate, pixel_range, why_no_images
from xreasoner.models.resolve import resolve_model
from xreasoner.pipeline.stage_status import PlannedStage, plan_stage, stage_folder, with_descendants
from xreasoner.recipe.schema import BASE, GrpoStage, Recipe, Stage
from xreasoner.records import Problem
from xreasoner.storage.journal import Say
from xreasoner.terminal.fitted_table import FittedTable


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


def make_plan(
    recipe: Recipe, say: Say = lambda line: None, redo: Sequence[str] = (), scratch: Path | None = None
) -> Plan:
    """`say` gets progress messages of data preparation; the stages in `redo` are trained again.

    With `scratch`, data that is not prepared yet is prepared there, and the run directory stays as it is.
    """
    refuse_unknown_references(recipe)
    base = resolve_model(recipe.model)
    sees = has_vision(base)
    for name in redo:
        recipe.stage(name)  # raises if there is no such stage
    again = with_descendants(recipe, redo)
    identities = {BASE: model_identity(base)}
    benchmarks = recipe_benchmarks(recipe.evaluation, recipe.instruction)
    refuse_unseeable(benchmarks, base)
    asked = {one.name: one.problems for one in benchmarks}
    catalogue = partial(read_catalogue, recipe.evaluation)
    stages = []
    for name in recipe.stages:
        problems = stage_problems(recipe, name, base, asked, say, catalogue, scratch)
        stage = plan_stage(recipe, name, identities[recipe.start_of(name)], problems, name in again)
        if stage.status != "changed":  # that is refused with its reason
            refuse_too_few(name, stage.settings, len(problems))
        identities[name] = stage.manifest.fingerprint
        stages.append(stage)
    as_given = [stage for stage in stages if not removes_leaks(stage.settings)]
    refuse_leaks((problem for stage in as_given for problem in stage.problems), asked)
    return Plan(recipe, base, identities[BASE], sees, tuple(stages), benchmarks)


def refuse_unknown_references(recipe: Recipe) -> None:
    for name in recipe.evaluation.references:
        if name not in (BASE, *recipe.stages) and not (Path(name) / "evals").is_dir():
            raise ValueError(
                f"evaluation.references: {name} is neither a stage of this recipe nor a run directory"
            )


def refuse_too_few(name: str, settings: Stage, found: int) -> None:
    if found == 0:
        raise ValueError(f"stages.{name}.data: no problems are left to train on")
    if settings.held_out >= found:
        raise ValueError(
            f"stages.{name}.held_out: {settings.held_out:,} of {found:,} problems leaves none to train on"
        )


def stage_data(recipe: Recipe, names: Sequence[str], say: Say) -> Iterator[tuple[str, Sequence[Problem]]]:
    """The training problems of these stages; data of other stages is not prepared."""
    for name in names:
        recipe.stage(name)  # raises if there is no such stage
    base = resolve_model(recipe.model)
    with pinned_in(recipe.run_dir):
        benchmarks = recipe_benchmarks(recipe.evaluation, recipe.instruction)
    asked = {one.name: one.problems for one in benchmarks}
    catalogue = partial(read_catalogue, recipe.evaluation)
    for name in names:
        with pinned_in(recipe.run_dir):
            problems = stage_problems(recipe, name, base, asked, say, catalogue)
        yield name, problems


def refuse_unseeable(benchmarks: Sequence[Benchmark], checkpoint: Path) -> None:
    images = [one.name for one in benchmarks if one.modality == "image"]
    if images and (lack := why_no_images(checkpoint)):
        raise ValueError(f"{checkpoint}: {lack}, but the benchmark {images[0]} has images; remove it")


def print_plan(plan: Plan, console: Console) -> None:
    recipe = plan.recipe
    console.print(
        f"{recipe.name}: {recipe.model}, seed {recipe.seed}, in {plan.run_dir}", style="bold", highlight=False
    )
    console.print(FittedTable(stage_table(plan)))
    if shown := image_line(plan):
        console.print(f"  {shown}", highlight=False)
    for benchmark in plan.benchmarks:
        console.print(
            f"  benchmark {benchmark.name}: {len(benchmark.problems):,} problems, {benchmark.modality}"
            + (f", {len(benchmark.broken):,} more that are broken" if benchmark.broken else ""),
            highlight=False,
        )
    for line in (*cut_lines(plan), *slow_lines(plan)):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    if recipe.about_minutes is not None:
        console.print(f"Expected time: about {recipe.about_minutes:g} minutes.", highlight=False)


def cut_lines(plan: Plan) -> Iterator[str]:
    """Where the budgets exceed the model's context, so that answers are cut before their budget is spent."""
    context = context_length(plan.base)
    evaluation = plan.recipe.evaluation
    asked = {name: one for name, one in plan.recipe.stages.items() if isinstance(one, GrpoStage)}
    longest = {name: one.think_budget + one.answer_budget for name, one in asked.items()}
    if plan.benchmarks and evaluation.server is None:
        longest["evaluation"] = evaluation.think_budget + evaluation.answer_budget
    for name, budgets in longest.items():
        if context is not None and budgets >= context:
            yield f"{name}: the budgets are {budgets:,} tokens, but the model's context is {context:,}"


def slow_lines(plan: Plan) -> Iterator[str]:
    """Where no fast engine knows the images of this model."""
    images = any(one.modality == "image" for one in plan.benchmarks)
    engine = plan.recipe.evaluation.engine
    if engine == "generate" or (images and engine == "auto" and needs_generate(read_config(plan.base))):
        # The engines take a second to import.
        from xreasoner.parallel import join_world
        from xreasoner.rollout.choose import slow_line

        if line := slow_line(engine, plan.base, join_world().device, images):
            yield f"evaluation: {line}"


def image_line(plan: Plan) -> str:
    """How large images are shown; empty without image benchmarks or for families of one fixed size."""
    evaluation = plan.recipe.evaluation
    pixels = pixel_range(plan.base, evaluation.min_pixels, evaluation.max_pixels) if plan.sees else None
    if pixels is None or not any(one.modality == "image" for one in plan.benchmarks):
        return ""
    tokens = image_tokens(plan.base, pixels.high)
    return f"images: {pixels.low:,} to {pixels.high:,} pixels, at most {tokens:,} tokens each"


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
            status_text(stage),
        )
    return table


def status_text(stage: PlannedStage) -> str:
    match stage.status:
        case "changed":
            return f"refused without --redo {stage.name}: {stage.why}"
        case "redo":
            return "will be set aside and retrained"
        case "resumed" if stage.why:
            return f"resumed: {stage.why}"
    return stage.status


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def length_of(settings: Stage) -> str:
    return f"{settings.steps:,} steps" if settings.steps is not None else f"{settings.epochs:g} epochs"
