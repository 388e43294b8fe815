"""Files that a kill cannot break: they appear whole or not at all, and torn last lines are cut off."""

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
    """Where something is made, or taken apart, that shall never be seen half done; `sweep` finds it there."""
    return path.with_name(f".{path.name}{UNFINISHED}{os.getpid()}")


def sweep(folder: Path) -> None:
    """Remove what a killed process was about to write."""
    for leftover in folder.glob(f".*{UNFINISHED}*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = unfinished(path)
    with beside.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    with written_atomically(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name, and the place of an older one, when it is complete.

    Two folders cannot be swapped in one call: whoever finds none of that name starts over.
    """
    beside = unfinished(path)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    for file in beside.rglob("*"):
        _sync(file)
    discard(path)
    beside.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Without this a power cut may forget what was written, or how it was renamed."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def discard(path: Path) -> None:
    """Remove a folder so that a kill meanwhile leaves no half of it under its name."""
    if path.exists():
        doomed = unfinished(path.with_name(f"{path.name}.old"))
        path.rename(doomed)
        shutil.rmtree(doomed)


def drop_torn_line(path: Path) -> None:
    """Cut the file after its last whole line, so that appending goes on cleanly."""
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
