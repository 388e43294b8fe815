"""What decides that a stage is done, resumed or refused: its settings and data against its manifest."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from xreasoner.data.problem_store import problems_fingerprint
from xreasoner.recipe.schema import BASE, EXECUTION, SCHEDULE, GrpoStage, Recipe, Stage
from xreasoner.records import Problem
from xreasoner.rewards.load_function import source_of
from xreasoner.rewards.reward_sum import user_sources
from xreasoner.storage.run_folder import (
    Manifest,
    SettingChange,
    differences,
    first_difference,
    read_manifest,
)
from xreasoner.storage.state_folders import complete_states, saved_step

StageStatus = Literal["new", "done", "resumed", "changed", "redo"]
"""changed: what is on disk was made from something else, so a run refuses it. redo: trained again."""

REWARD_SOURCES, FORMULA_SOURCES = "source of rewards", "source of loss and advantage"
"""In the schedule beside the settings: the hashes of the files of users' reward functions."""
ELSEWHERE = {"start", "data", "filters"}
"""Settings that the manifest records by their outcome: the checkpoint and the problems."""


@dataclass(frozen=True)
class PlannedStage:
    name: str
    settings: Stage
    start: str
    """The stage whose checkpoint it starts from, or `base`."""
    folder: Path
    problems: Sequence[Problem]
    manifest: Manifest
    """The wanted manifest; for a stage that is done or resumed, the one on disk with the new changes."""
    status: StageStatus
    why: str = ""
    """The settings that differ from those on disk."""


def plan_stage(
    recipe: Recipe, name: str, start_identity: str, problems: Sequence[Problem], redo: bool = False
) -> PlannedStage:
    settings, folder = recipe.stages[name], stage_folder(recipe, name)
    wanted = wanted_manifest(recipe, settings, start_identity, problems)
    if redo and holds_work(folder):
        # A damaged manifest is not read: its error advises to train again.
        return PlannedStage(name, settings, recipe.start_of(name), folder, problems, wanted, "redo")
    on_disk = read_manifest(folder, redo_advice(name))
    if on_disk is None and holds_work(folder):
        raise ValueError(f"{folder / 'manifest.json'} is missing; {redo_advice(name)}")
    found = in_todays_terms(on_disk, wanted, settings) if on_disk else None
    status, why = status_of(found, wanted, folder)
    manifest = wanted
    if on_disk and status == "done":
        manifest = on_disk
    elif on_disk and found and status == "resumed":
        history = (*on_disk.history, *changes(found, wanted, folder))
        manifest = replace(on_disk, schedule=wanted.schedule, execution=wanted.execution, history=history)
    return PlannedStage(name, settings, recipe.start_of(name), folder, problems, manifest, status, why)


def wanted_manifest(
    recipe: Recipe, settings: Stage, start_identity: str, problems: Sequence[Problem]
) -> Manifest:
    dumped = settings.model_dump(mode="json", by_alias=False)
    kinds: dict[str, dict[str, Any]] = {"identity": {}, "schedule": {}, "execution": {}}
    for key, value in dumped.items():
        if key not in ELSEWHERE:
            kinds["schedule" if key in SCHEDULE else "execution" if key in EXECUTION else "identity"][key] = (
                value
            )
    made_from = {
        "start": start_identity,
        "seed": recipe.seed,
        "instruction": recipe.instruction,
        "settings": kinds["identity"],
        "data": problems_fingerprint(problems),
    }
    if isinstance(settings, GrpoStage):
        # A user may fix a function in the middle of a run and resume.
        if sources := user_sources(settings.rewards):
            kinds["schedule"][REWARD_SOURCES] = sources
        if sources := formula_sources(settings):
            kinds["schedule"][FORMULA_SOURCES] = sources
    return Manifest(made_from, schedule=kinds["schedule"], execution=kinds["execution"])


def formula_sources(settings: GrpoStage) -> dict[str, str]:
    """The hashes of the files of a user's own loss and advantage."""
    named = {"loss": settings.loss, "advantage": settings.advantage}
    return {what: source_of(what, name) for what, name in named.items() if ":" in name}


def in_todays_terms(found: Manifest, wanted: Manifest, settings: Stage) -> Manifest:
    """The manifest of an older version: a setting that it did not know had what is the default today."""
    fields = type(settings).model_fields

    def filled(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        return {key: old[key] if key in old else default_of(fields.get(key)) for key in new}

    known: dict[str, Any] = {key: found.made_from.get(key) for key in wanted.made_from}
    known["settings"] = filled(known["settings"], wanted.made_from["settings"])
    schedule = filled(found.schedule, wanted.schedule)
    return replace(
        found, made_from=known, schedule=schedule, execution=filled(found.execution, wanted.execution)
    )


def default_of(field: FieldInfo | None) -> Any:
    return (
        None
        if field is None or field.is_required()
        else to_jsonable_python(field.get_default(call_default_factory=True))
    )


def status_of(found: Manifest | None, wanted: Manifest, folder: Path) -> tuple[StageStatus, str]:
    if found is None:
        return "new", ""
    if found.made_from != wanted.made_from:
        if found.state == "started" and not complete_states(folder / "state"):
            return "new", ""
        return "changed", first_difference(found.made_from, wanted.made_from) or ""
    changed = ", ".join(differences(found.schedule, wanted.schedule))
    if found.state == "started":
        return "resumed", changed
    if changed:
        return "changed", changed
    return ("done" if found.state == "done" else "resumed"), ""


def changes(found: Manifest, wanted: Manifest, folder: Path) -> list[SettingChange]:
    """What a resumed stage does differently from now on."""
    now, step = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}", saved_step(folder / "state")
    return [
        SettingChange(now, step, change, affects_result)
        for old, new, affects_result in (
            (found.schedule, wanted.schedule, True),
            (found.execution, wanted.execution, False),
        )
        for change in differences(old, new)
    ]


def redo_advice(stage: str) -> str:
    return f"`--redo {stage}` sets stage {stage} and those after it aside and trains them again"


def holds_work(folder: Path) -> bool:
    """Whether there is something to set aside."""
    made = (folder / "manifest.json").exists() or (folder / "model").exists()
    return made or bool(complete_states(folder / "state"))


def stage_folder(recipe: Recipe, name: str) -> Path:
    """The folder of the stage on disk, whatever its number; for a new stage, numbered by its position."""
    stages = recipe.run_dir / "stages"
    found = [path for path in sorted(stages.glob(f"*-{name}")) if re.fullmatch(rf"\d+-{name}", path.name)]
    return found[0] if found else stages / f"{[BASE, *recipe.stages].index(name)}-{name}"


def with_descendants(recipe: Recipe, names: Sequence[str]) -> set[str]:
    """These stages, and all that start from them."""
    found = set(names)
    for name in recipe.stages:
        if recipe.start_of(name) in found:
            found.add(name)
    return found


def refuse_changed(stages: Sequence[PlannedStage], recipe: Recipe) -> None:
    """Nothing that was trained is set aside without --redo."""
    for stage in stages:
        if stage.status == "changed":
            others = sorted(with_descendants(recipe, [stage.name]) - {stage.name})
            and_others = f" and the stages after it ({', '.join(others)})" if others else ""
            raise ValueError(
                f"{stage.folder}: stage {stage.name} was trained with other settings: {stage.why}. "
                f"To set it{and_others} aside and train again, add --redo {stage.name}; "
                "to keep it, choose another directory with --out"
            )
