"""Run a recipe: train each stage on text, graft the vision tower back, evaluate, and write the report."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from xreasoner.data.hub import pinned_in
from xreasoner.data.prompt_length import with_short_prompts
from xreasoner.data.sources import split_held_out
from xreasoner.evals.recipe_benchmarks import recipe_benchmarks
from xreasoner.evals.samples import read_result
from xreasoner.evals.task import ASKED
from xreasoner.models.identity import model_identity
from xreasoner.models.load import load_tokenizer
from xreasoner.models.surgery import detach, graft
from xreasoner.parallel import World, ending_together, join_world, wait_for_all
from xreasoner.pipeline.disks_of_a_run import agreed_plan, copy_if_made_here, locked_on_all_disks
from xreasoner.pipeline.evaluate import measure, write_asked
from xreasoner.pipeline.stage_status import PlannedStage, redo_advice, refuse_changed
from xreasoner.pipeline.stages import (
    Plan,
    print_plan,
    refuse_unseeable,
)
from xreasoner.recipe.file import write_recipe
from xreasoner.recipe.schema import BASE, GrpoStage, Recipe, SftStage
from xreasoner.recipe.settings import EvaluationEngine
from xreasoner.records import Problem
from xreasoner.report.table import print_table
from xreasoner.report.write import write_report
from xreasoner.rollout.choose import auto_fallback, choose_engine
from xreasoner.storage.disk import folder_size, require_room
from xreasoner.storage.files import sweep, write_atomically
from xreasoner.storage.folders import (
    damage_in,
    discard,
    folder_written_atomically,
    refuse_damaged,
    write_checksums,
)
from xreasoner.storage.journal import Journal
from xreasoner.storage.run_folder import (
    Manifest,
    ManifestState,
    fingerprint,
    length_file,
    read_manifest,
    set_aside,
)
from xreasoner.track.follow import tracking
from xreasoner.track.live_view import live_view
from xreasoner.track.trackers import refuse_uninstalled
from xreasoner.train.grpo import train_grpo
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import StepLines

SECONDS_BETWEEN_PAGES = 60.0
"""Of a run in progress: writing a page takes seconds."""
PERCEPTION_LOSS = 0.05
"""A loss that is significantly larger gets a warning."""


def run_recipe(recipe: Recipe, console: Console, redo: Sequence[str] = (), plain: bool = True) -> None:
    """`plain`: print lines also where a terminal could show the view of the run."""
    world = join_world()
    with ending_together(world), locked_on_all_disks(recipe.run_dir, world) as world:
        journal = Journal(console, recipe.run_dir / "log")
        plan = agreed_plan(recipe, journal, redo, world)
        refuse_changed(plan.stages, recipe)
        refuse_uninstalled(recipe.track)
        wait_for_all(world)  # every rank has read the folder before the first rank changes it
        check_engines(plan, world, journal)
        if world.is_first:
            print_plan(plan, console)
            open_run(plan)
            write_asked(recipe.run_dir, list(recipe.stages), plan.benchmarks, recipe.evaluation)
        with (
            live_view(plan.run_dir, console, plain, world.rank) as place,
            tracking(plan.run_dir, recipe.track, journal.say) if world.is_first else nullcontext(),
        ):
            make_all(plan, world, Journal(place, journal.path))
        if world.is_first and plan.benchmarks and recipe.evaluation.after != ():
            show_report(plan.run_dir, console)


def make_all(plan: Plan, world: World, journal: Journal) -> None:
    written = time.monotonic()
    evaluate_checkpoint(BASE, plan, world, journal)
    for stage in plan.stages:
        if stage.status != "done":
            make_stage(stage, plan, world, journal)
        was_measured = is_measured(plan.run_dir, stage.name)
        evaluate_checkpoint(stage.name, plan, world, journal)
        if world.is_first:
            if not was_measured:  # once, and not again when the run is resumed
                warn_of_lost_perception(stage, plan, journal)
            is_due = time.monotonic() - written > SECONDS_BETWEEN_PAGES
            if is_due and stage is not plan.stages[-1] and plan.benchmarks and plan.is_evaluated(stage.name):
                write_report(plan.run_dir, is_live=True)
                written = time.monotonic()


def check_engines(plan: Plan, world: World, journal: Journal) -> None:
    """Fail now rather than after hours if an engine is missing, and say where `auto` cannot use vLLM."""
    open_stages = [stage for stage in plan.stages if stage.status != "done"]
    asked: dict[str, EvaluationEngine] = {
        stage.name: stage.settings.rollout for stage in open_stages if isinstance(stage.settings, GrpoStage)
    }
    if open_stages and plan.benchmarks:
        asked["evaluation"] = plan.recipe.evaluation.engine
    fallbacks = dict[str, list[str]]()
    for name, engine in asked.items():
        if engine != "generate":
            choose_engine(engine, plan.base, world.device)
        if lack := auto_fallback(engine, plan.base, world.device):
            fallbacks.setdefault(lack, []).append(name)
    if world.is_first:
        for lack, names in fallbacks.items():
            journal.say(f"{', '.join(names)}: {lack}")


def open_run(plan: Plan) -> None:
    write_atomically(plan.run_dir / "recipe.yaml", write_recipe(plan.recipe).encode())


def set_aside_stage(folder: Path, run_dir: Path) -> None:
    """Answers first: a crash in between must not leave them without their stage."""
    set_aside(run_dir / "evals" / folder.name.partition("-")[2], run_dir)
    set_aside(folder, run_dir)


def is_measured(run_dir: Path, name: str) -> bool:
    found = read_manifest(run_dir / "evals" / name)
    return found is not None and found.state == "done"


def warn_of_lost_perception(stage: PlannedStage, plan: Plan, journal: Journal) -> None:
    """Between two stages, because the next one would train the harmed model further."""
    if not (plan.is_evaluated(stage.name) and plan.is_evaluated(stage.start)):
        return
    for one in plan.benchmarks:
        if one.role == "perception":
            evals, name = plan.run_dir / "evals", f"{one.name}.jsonl"
            before, after = (read_result(evals / which / name) for which in (stage.start, stage.name))
            if after["high"] < before["accuracy"] - PERCEPTION_LOSS:
                fell = f"from {before['accuracy']:.0%} to {after['accuracy']:.0%} ({one.name})"
                journal.say(
                    f"{stage.name}: perception fell {fell}: training harms vision. To prevent it, lower "
                    "lr, use LoRA, or add problems that are answered without a thought"
                )


# --- one stage ------------------------------------------------------------------------------------------


def make_stage(stage: PlannedStage, plan: Plan, world: World, journal: Journal) -> None:
    began = time.monotonic()
    if world.is_first:
        if stage.status == "resumed" and stage.why:
            journal.say(f"{stage.name}: resumed with changed settings: {stage.why}")
        prepare_folder(stage, plan.run_dir)
        if stage.start == BASE and plan.sees:
            detach_base(plan, journal)
        if stage.start != BASE:
            refuse_damaged(plan.text_model(stage.start), redo_advice(stage.start))
        require_room(stage.folder, weights_to_write(stage, plan), f"the weights of stage {stage.name}")
    wait_for_all(world)
    if stage.manifest.state != "trained":
        copy_if_made_here(plan.text_model(stage.start), plan.run_dir, world)
        train(stage, plan.text_model(stage.start), plan.recipe, journal, world)
    wait_for_all(world)
    if world.is_first:
        note(stage, "trained", began)
        refuse_damaged(stage.folder / "model", redo_advice(stage.name))
        if plan.sees:
            discard(stage.folder / "checkpoint")
            graft(plan.base, stage.folder / "model", stage.folder / "checkpoint")
        discard(stage.folder / "state")
        write_checksums(stage.folder)
        note(stage, "done", began)
        journal.say(f"{stage.name}: done in {time.monotonic() - began:.0f} s")
    elif world.keeps_a_copy:
        discard(stage.folder / "state")
    wait_for_all(world)


def weights_to_write(stage: PlannedStage, plan: Plan) -> int:
    """Bytes of `model`, `best` and `checkpoint`; a training state asks for its own room."""
    model = folder_size(plan.text_model(stage.start))
    keeps_best = stage.settings.kind == "grpo" or stage.settings.keep_best
    copies = 0 if stage.manifest.state == "trained" else 2 if keeps_best else 1
    return copies * model + (folder_size(plan.base) if plan.sees else 0)


def prepare_folder(stage: PlannedStage, run_dir: Path) -> None:
    if stage.status == "redo":
        set_aside_stage(stage.folder, run_dir)
    stage.manifest.write(stage.folder)
    sweep(stage.folder)


def note(stage: PlannedStage, state: ManifestState, began: float) -> None:
    seconds = stage.manifest.seconds + time.monotonic() - began
    replace(stage.manifest, state=state, seconds=seconds).write(stage.folder)


def detach_base(plan: Plan, journal: Journal) -> None:
    """Detach the language model of the base, once for all stages that start from it."""
    folder = plan.run_dir / "base"
    wanted = Manifest({"base": plan.base_fingerprint}, "done")
    damage = damage_in(folder) if folder.is_dir() else None
    found = None if damage else read_manifest(folder)
    if found is not None and found.fingerprint == wanted.fingerprint:
        return
    if damage:
        journal.say(f"{damage}; the language model is detached again")
    with folder_written_atomically(folder) as unfinished:
        detach(plan.base, unfinished / "model")
        wanted.write(unfinished)


def train(stage: PlannedStage, start: Path, recipe: Recipe, journal: Journal, world: World) -> None:
    """The trainer resumes from the last state in the folder."""
    settings, out, seed, system = stage.settings, stage.folder, recipe.seed, recipe.instruction
    progress = StepLines(journal.console, length_file(recipe.run_dir, "stages", stage.name))
    match settings:
        case SftStage():
            problems, held_out = split_held_out(stage.problems, settings.held_out, seed)
            train_sft(settings, start, problems, out, seed, progress, system, held_out, world)
        case GrpoStage():
            fitting = within_length(stage, settings, recipe, start, journal)
            problems, held_out = split_held_out(fitting, settings.held_out, seed)
            train_grpo(settings, start, problems, held_out, out, seed, progress, system, world)


def within_length(
    stage: PlannedStage, settings: GrpoStage, recipe: Recipe, start: Path, journal: Journal
) -> Sequence[Problem]:
    """The problems that `max_length` allows, whatever the model answers within its budgets."""
    if settings.max_length is None:
        return stage.problems
    longest = settings.max_length - settings.think_budget - settings.answer_budget
    kept = with_short_prompts(stage.problems, longest, recipe.instruction, load_tokenizer(start))
    if len(kept) < len(stage.problems):
        left_out = f"{len(stage.problems) - len(kept):,} of {len(stage.problems):,} problems"
        reason = f"their prompts have more than {longest} tokens, the rest of max_length after both budgets"
        if not kept:
            raise ValueError(f"{stage.name}: {left_out} are left out: {reason}")
        if join_world().is_first:
            journal.say(f"{stage.name}: {left_out} are left out: {reason}")
    return kept


# --- evaluation and report ------------------------------------------------------------------------------


def evaluate_checkpoint(name: str, plan: Plan, world: World, journal: Journal) -> None:
    if plan.is_evaluated(name):
        checkpoint, fingerprint = plan.checkpoint(name), plan.fingerprints()[name]
        evaluation, run_dir = plan.recipe.evaluation, plan.run_dir
        usable = partial(graft_if_damaged, name, plan, journal)
        measure(name, checkpoint, fingerprint, plan.benchmarks, evaluation, run_dir, world, journal, usable)


def graft_if_damaged(name: str, plan: Plan, journal: Journal, contents: bool) -> None:
    """The base is the user's own; its content is compared with the manifests of the run."""
    checkpoint = plan.checkpoint(name)
    if name == BASE or (damage := damage_in(checkpoint, contents=contents)) is None:
        return
    refuse_damaged(plan.text_model(name), redo_advice(name))
    journal.say(f"{damage}; grafted again")
    discard(checkpoint)
    graft(plan.base, plan.text_model(name), checkpoint)


def evaluate_model(
    checkpoint: Path | None, name: str, recipe: Recipe, out: Path, console: Console, plain: bool = True
) -> None:
    """Evaluate any model. `out` becomes a run directory with only an evaluation.

    Without a checkpoint, the recipe must name a server.
    """
    world = join_world()
    with pinned_in(out):
        benchmarks = recipe_benchmarks(recipe.evaluation, recipe.instruction)
    if checkpoint is not None:
        refuse_unseeable(benchmarks, checkpoint)
    with ending_together(world), locked_on_all_disks(out, world) as world:
        journal = Journal(console, out / "log")
        if world.is_first:
            write_atomically(out / "recipe.yaml", write_recipe(recipe).encode())
            (out / "evals" / ASKED).unlink(missing_ok=True)  # models in one folder may have other benchmarks
        made_by = model_fingerprint(checkpoint, recipe)
        with live_view(out, console, plain, world.rank) as place:
            journal = Journal(place, journal.path)
            measure(name, checkpoint or out, made_by, benchmarks, recipe.evaluation, out, world, journal)
        if world.is_first:
            show_report(out, console)


def model_fingerprint(checkpoint: Path | None, recipe: Recipe) -> str:
    """A model on a server is identified by the URL and its name."""
    if checkpoint is not None:
        return model_identity(checkpoint)
    assert recipe.evaluation.server is not None
    return fingerprint([recipe.evaluation.server.url, recipe.evaluation.server.model])


def show_report(run_dir: Path, console: Console) -> None:
    results = write_report(run_dir)
    print_table(results, console)
    for page in ("report.html", "reader/index.html"):
        console.print(f"{run_dir / page}", highlight=False, soft_wrap=True)
