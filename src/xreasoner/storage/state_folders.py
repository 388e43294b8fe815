"""The training states of a stage on disk: one folder for each, named by its step.

A state is complete once it holds its note, which is written last. All others are leftovers of a kill.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xreasoner.storage.checked_json import checked_json, write_checked_json
from xreasoner.storage.files import sweep, sync
from xreasoner.storage.folders import damage_in, discard, write_checksums
from xreasoner.storage.journal import Say

NOTE = "state.json"
KEPT = 2
"""Complete states: the newest one may turn out to be damaged."""
_NAME = "step-"


def state_folder(folder: Path, step: int) -> Path:
    return folder / f"{_NAME}{step:08}"


def step_of(state: Path) -> int:
    return int(state.name.removeprefix(_NAME))


def complete_states(folder: Path) -> list[Path]:
    """In the order of their steps."""
    return sorted(note.parent for note in folder.glob(f"{_NAME}*/{NOTE}"))


def saved_step(folder: Path) -> int:
    """The optimizer step that a resumed stage continues from."""
    found = complete_states(folder)
    return step_of(found[-1]) if found else 0


def read_note(state: Path) -> dict[str, Any]:
    note = checked_json(state / NOTE)
    assert note is not None, "whole_state found no damage"
    return note


def complete_state(state: Path, note: Mapping[str, Any]) -> None:
    """Mark a state complete when everything else in it is on disk, then delete older ones."""
    write_checksums(state)
    sync(state.parent)
    write_checked_json(state / NOTE, note)
    for older in complete_states(state.parent)[:-KEPT]:
        discard(older)


def whole_state(folder: Path, say: Say) -> Path | None:
    """The newest state that is as it was written; None where none was saved yet. Drops what is unusable."""
    drop_incomplete_states(folder, say)
    states = complete_states(folder)
    while states:
        damage = damage_of_state(states[-1])
        if damage is None:
            return states[-1]
        if len(states) == 1:
            raise ValueError(f"{damage}; there is no other training state: train the stage again with --redo")
        say(f"{damage}; resuming from the state before it, of step {step_of(states[-2]):,}")
        discard(states.pop())
    return None


def drop_incomplete_states(folder: Path, say: Say) -> None:
    sweep(folder)
    for state in set(folder.glob(f"{_NAME}*")) - set(complete_states(folder)):
        say(f"{state}: this training state is incomplete and is dropped")
        discard(state)


def drop_states(folder: Path) -> None:
    for state in folder.glob(f"{_NAME}*"):
        discard(state)


def damage_of_state(state: Path) -> str | None:
    if checked_json(state / NOTE) is None:
        return f"{state / NOTE} is damaged"
    return damage_in(state)
