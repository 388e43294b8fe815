"""The training states of a stage on disk: one folder for each, named by its step.

A state is complete once it holds its note, which is written last. All others are leftovers of a kill.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xreasoner.storage.files import discard, sweep, sync, write_json

NOTE = "state.json"
KEPT = 2
"""Complete states: the newest one may turn out to be damaged."""


def state_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08}"


def complete_states(folder: Path) -> list[Path]:
    """In the order of their steps."""
    return sorted(note.parent for note in folder.glob(f"step-*/{NOTE}"))


def saved_step(folder: Path) -> int:
    """The optimizer step that a resumed stage continues from."""
    found = complete_states(folder)
    return int(read_note(found[-1])["step"]) if found else 0


def read_note(state: Path) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((state / NOTE).read_text(encoding="utf-8"))
    return note


def complete_state(state: Path, note: Mapping[str, Any]) -> None:
    """Mark a state complete when everything else in it is on disk, then delete older ones."""
    sync(state.parent)
    write_json(state / NOTE, note)
    for older in complete_states(state.parent)[:-KEPT]:
        discard(older)


def drop_incomplete_states(folder: Path) -> None:
    sweep(folder)
    for state in set(folder.glob("step-*")) - set(complete_states(folder)):
        discard(state)
