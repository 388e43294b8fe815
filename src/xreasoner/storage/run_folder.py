"""A run directory: its lock, and the manifests that record what each part was made from."""

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
"""Larger files are identified by size and modification time: hashing a 7B model would take minutes."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Exclusive use of the directory. The lock ends with its process, even after kill -9."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{run_dir}: this run directory is in use by process {file.read().strip()}; "
                "wait for it, or choose another directory with --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """One process at a time: the first one makes something, the others find it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_aside(path: Path, run_dir: Path) -> Path | None:
    """Move outdated outputs to `stale/` instead of deleting them."""
    if not path.exists():
        return None
    stale = run_dir / "stale"
    stale.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in stale.iterdir()) + 1
    place = stale / f"{number}-{path.parent.name}-{path.name}"
    path.rename(place)
    return place


# --- manifests ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    made_from: Mapping[str, Any]
    state: State = "started"
    seconds: float = 0.0
    """Time spent so far, without the part that an interruption lost."""

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
    """The fingerprint of all files of a checkpoint."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint([(path.name, _file_fingerprint(path)) for path in files])


def _file_fingerprint(path: Path) -> list[Any]:
    facts = path.stat()
    if facts.st_size > CONTENT_LIMIT:
        return [facts.st_size, facts.st_mtime_ns]
    return [facts.st_size, hashlib.sha256(path.read_bytes()).hexdigest()]


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first key in which two manifests differ, with both values."""
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
