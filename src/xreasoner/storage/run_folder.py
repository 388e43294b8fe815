"""A run directory: its lock, and the manifests that record what each part was made from."""

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from xreasoner.storage.checked_json import read_checked_json, write_checked_json
from xreasoner.storage.disk import errors_named
from xreasoner.storage.files import sweep

ManifestState = Literal["started", "trained", "done"]
METRICS = "metrics.jsonl"
"""In a stage's folder: a line of numbers for each step."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Exclusive use of the directory. The lock ends with its process, even after kill -9."""
    run_dir.mkdir(parents=True, exist_ok=True)
    refuse_local_locks(run_dir, Path("/proc/self/mounts"))
    with (run_dir / "lock").open("ab+", buffering=0) as file:  # a buffer would fail again when it is closed
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{run_dir}: this run directory is in use by process {file.read().decode()}; "
                "wait for it, or choose another directory with --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            raise ValueError(
                f"{run_dir}: this file system has no locks ({error.strerror}), so two runs could overwrite "
                "each other; mount it with locks, or choose another directory with --out"
            ) from None
        file.truncate(0)
        with errors_named(run_dir / "lock"):
            file.write(f"{os.getpid()} on {socket.gethostname()}".encode())
        sweep(run_dir)
        yield


def refuse_local_locks(folder: Path, mounts: Path) -> None:
    """NFS can be mounted so that a lock holds on one machine only, and says so nowhere else."""
    if not mounts.is_file():  # not Linux
        return
    found = [line.split() for line in mounts.read_text().splitlines()]
    holding = [mount for mount in found if folder.resolve().is_relative_to(mount[1].replace("\\040", " "))]
    _, place, kind, options, *_ = max(holding, key=lambda mount: len(mount[1]))
    local = {"nolock", "local_lock=all", "local_lock=flock"} & set(options.split(","))
    if kind.startswith("nfs") and local:
        raise ValueError(
            f"{folder}: {place} is mounted with {local.pop()}, so locks do not hold between machines; "
            "mount it without, or choose another directory with --out"
        )


@contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """One process at a time: the first one makes something, the others find it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(folder)
        yield


def is_in_use(run_dir: Path) -> bool:
    """Whether a process holds the lock, which is asked for only if somebody seems to."""
    lock = run_dir / "lock"
    if not lock.is_file() or owner_of(lock)[0] is None:
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def owner_of(lock: Path) -> tuple[int | None, str]:
    """Process and machine; no process where it has ended."""
    process, _, machine = lock.read_text().partition(" on ")
    if not process.isdigit() or (machine == socket.gethostname() and not Path(f"/proc/{process}").exists()):
        return None, machine
    return int(process), machine


def resident_memory(run_dir: Path) -> int | None:
    """Bytes of the process that holds the lock, if it runs on this machine."""
    process, machine = owner_of(run_dir / "lock")
    pages = Path(f"/proc/{process}/statm")
    if machine != socket.gethostname() or not pages.is_file():
        return None
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stage_folders(run_dir: Path) -> dict[str, Path]:
    """Stage names and their folders `stages/<number>-<name>`, in order."""
    folders = [(re.match(r"(\d+)-(.+)", path.name), path) for path in (run_dir / "stages").glob("*-*")]
    numbered = sorted((int(match[1]), match[2], path) for match, path in folders if match)
    return {name: path for _, name, path in numbered}


def length_file(run_dir: Path, kind: Literal["stages", "evals"], name: str) -> Path:
    """How many steps a stage has, or how many answers an evaluation, by benchmark: for `xreasoner watch`."""
    return run_dir / "lengths" / kind / f"{name}.json"


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


MOVE_AWAY = "move its folder away and run again"


@dataclass(frozen=True)
class SettingChange:
    """A setting that was changed while a stage was being trained."""

    time: str
    step: int
    change: str
    """As in `lr was 1e-05, is 5e-06`."""
    affects_result: bool


@dataclass(frozen=True)
class Manifest:
    made_from: Mapping[str, Any]
    """What identifies the result; another value is another result."""
    state: ManifestState = "started"
    seconds: float = 0.0
    """Time spent so far, without the part that an interruption lost."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """Settings that may change while a stage is trained, and then change its result: the learning rate."""
    execution: Mapping[str, Any] = field(default_factory=dict)
    """Settings that may change at any time, because they leave the result as it is: the microbatch."""
    history: tuple[SettingChange, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The identity of the result, for what is made from it."""
        if not self.schedule:
            return fingerprint(self.made_from)
        changes = [(one.step, one.change) for one in self.history if one.affects_result]
        return fingerprint([self.made_from, self.schedule, changes])

    def write(self, folder: Path) -> None:
        content = {
            "state": self.state,
            "seconds": round(self.seconds, 1),
            "fingerprint": self.fingerprint,
            "made_from": dict(self.made_from),
            "schedule": dict(self.schedule),
            "execution": dict(self.execution),
            "history": [asdict(one) for one in self.history],
        }
        write_checked_json(
            folder / "manifest.json", {key: value for key, value in content.items() if value != {}}
        )


def read_manifest(folder: Path, remedy: str = MOVE_AWAY) -> Manifest | None:
    """`remedy` says what the user can do if it is damaged."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    content = read_checked_json(path, remedy)
    return Manifest(
        content["made_from"],
        content["state"],
        content["seconds"],
        content.get("schedule", {}),
        content.get("execution", {}),
        tuple(SettingChange(**one) for one in content.get("history", ())),
    )


def fingerprint(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def first_difference(old: Any, new: Any) -> str | None:
    """The first key in which two manifests differ, with both values."""
    return next(differences(old, new), None)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Each key in which two mappings differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif old != new:
        yield f"{where} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
