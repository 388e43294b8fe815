"""Runs on machines without a shared disk: which parts of a run each machine gets, and when.

On one machine, and with a shared file system, nothing is copied.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from xreasoner.data.hub import pinned_in
from xreasoner.data.problem_store import problems_fingerprint
from xreasoner.disks.copy_files import copy_to_all, copy_to_first
from xreasoner.disks.find_disks import find_disks, move_run_to_first
from xreasoner.parallel import World, gather_shares, wait_for_all
from xreasoner.pipeline.stages import Plan, make_plan
from xreasoner.recipe.schema import Recipe
from xreasoner.storage.folders import discard
from xreasoner.storage.journal import Journal
from xreasoner.storage.run_folder import first_difference, locked

READ_BY_THE_PLAN = ("hub/*", "data/**/*", "stages/*/manifest.json", "stages/*/state/*/state.json")


@contextmanager
def locked_on_all_disks(run_dir: Path, world: World) -> Iterator[World]:
    """Exclusive use of the run directory on every disk. The world it yields knows the disks."""
    with locked(run_dir) if world.is_first else nullcontext():
        found = find_disks(run_dir, world)
        with locked(run_dir) if found.keeps_a_copy else nullcontext():
            move_run_to_first(run_dir, found)
            yield found


def agreed_plan(recipe: Recipe, journal: Journal, redo: Sequence[str], world: World) -> Plan:
    """The first rank prepares the data; other machines get a copy and make the same plan."""
    plan: Plan | None = None
    with pinned_in(recipe.run_dir):
        if world.is_first or world.has_one_disk:
            plan = make_plan(recipe, journal.say, redo)
        copy_to_all(recipe.run_dir, world, READ_BY_THE_PLAN)
        if plan is None:
            plan = make_plan(recipe, journal.say, redo)
    if not world.has_one_disk:
        refuse_another_plan(plan, world)
    return plan


def refuse_another_plan(plan: Plan, world: World) -> None:
    plans = gather_shares([inputs_of(plan)], world)
    for rank, found in enumerate(plans):
        if difference := first_difference(plans[0], found):
            raise ValueError(
                f"{plan.run_dir}: rank {rank} has another model or other data than the first rank "
                f"({difference}); copy them to its machine"
            )


def inputs_of(plan: Plan) -> dict[str, Any]:
    asked = {one.name: problems_fingerprint(one.problems) for one in plan.benchmarks}
    stages = {stage.name: dict(stage.manifest.made_from) for stage in plan.stages}
    return {"model": plan.base_fingerprint, "benchmarks": asked, "stages": stages}


def copy_if_made_here(model: Path, run_dir: Path, world: World) -> None:
    """A model outside the run directory is on every machine already."""
    if model.is_relative_to(run_dir):
        copy_to_all(model, world)
    else:
        wait_for_all(world)


# --- answers --------------------------------------------------------------------------------------------


def copy_answers_to_first(out: Path, world: World) -> None:
    """The answers of this machine's processes, each of which writes to its own folder."""
    own = [rank for rank, disk in enumerate(world.disks) if disk == world.rank]
    copy_to_first(out, world, [f"{where}shards/{rank}/*" for rank in own for where in ("", "budget-*/")])


def agreed_answers(out: Path, world: World) -> None:
    """After a kill, other machines may have answers that the first one lacks."""
    if world.has_one_disk:
        return
    manifest = out / "manifest.json"
    made_from = gather_shares([manifest.read_bytes() if manifest.is_file() else b""], world)
    if world.keeps_a_copy and made_from[world.rank] != made_from[0]:
        discard(out)
    copy_answers_to_first(out, world)
