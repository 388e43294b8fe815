"""A run directory: who may work in it, what each part was made from, what is out of date."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xreasoner.storage.files import write_json

State = Literal["started", "trained", "done"]

CONTENT_LIMIT = 64 * 2**20
"""Larger files are told apart by size and time of change: hashing a 7B model would take minutes."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Nobody else works in this directory meanwhile. A lock dies with its process, even under kill -9."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{run_dir}: process {file.read().strip()} is at work here; "
                "wait for it, or give this run another directory with --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """One process after the other; for what the first makes and the others find made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_aside(path: Path, run_dir: Path) -> Path | None:
    """Move outdated outputs to `stale/`, where nothing looks: a week of training is not ours to delete."""
    if not path.exists():
        return None
    stale = run_dir / "stale"
    stale.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in stale.iterdir()) + 1
    place = stale / f"{number}-{path.parent.name}-{path.name}"
    path.rename(place)
    return place


# --- manifests: what a result was made from -------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    made_from: Mapping[str, Any]
    state: State = "started"
    seconds: float = 0.0
    """Spent so far; what a kill cut off is not counted."""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.made_from)

    def write(self, folder: Path) -> None:
        content = {
            "state": self.state,
            "seconds": round(self.seconds, 1),
            "fingerprint": self.fingerprint,
            "made_from": dict(self.made_from),
        }
        write_json(folder / "manifest.json", content)


def read_manifest(folder: Path) -> Manifest | None:
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return Manifest(content["made_from"], content["state"], content["seconds"])


def fingerprint(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def folder_fingerprint(folder: Path) -> str:
    """Of every file in a checkpoint."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint([(path.name, _file_fingerprint(path)) for path in files])


def _file_fingerprint(path: Path) -> list[Any]:
    facts = path.stat()
    if facts.st_size > CONTENT_LIMIT:
        return [facts.st_size, facts.st_mtime_ns]
    return [facts.st_size, hashlib.sha256(path.read_bytes()).hexdigest()]


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first key in which two manifests differ, with both values: why something is made again."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            found = first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
            if found:
                return found
        return None
    return None if old == new else f"{where} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
