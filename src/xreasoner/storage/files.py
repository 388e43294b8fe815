"""Crash-safe files: they appear complete or not at all, and a partly written last line is dropped."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

UNFINISHED = ".unfinished-"
BLOCK = 1 << 16


def unfinished(path: Path) -> Path:
    """The temporary path at which `path` is created or deleted; `sweep` removes leftovers."""
    return path.with_name(f".{path.name}{UNFINISHED}{os.getpid()}")


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left behind."""
    for leftover in folder.glob(f".*{UNFINISHED}*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is complete and synced to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = unfinished(path)
    with beside.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    with written_atomically(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """A folder to fill. Once complete it gets its name and replaces an older folder.

    Two folders cannot be swapped in one call, so a crash in between leaves no folder of that name.
    """
    beside = unfinished(path)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    for file in beside.rglob("*"):
        sync(file)
    discard(path)
    beside.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Without it a power failure may lose written data or a rename."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def discard(path: Path) -> None:
    """Remove a folder; a crash meanwhile does not leave half of it under its name."""
    if path.exists():
        doomed = unfinished(path.with_name(f"{path.name}.old"))
        path.rename(doomed)
        shutil.rmtree(doomed)


def drop_torn_line(path: Path) -> None:
    """Drop a partly written last line, so that more lines can be appended."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)
