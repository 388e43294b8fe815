"""Crash-safe files: they appear complete or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from xreasoner.storage.disk import UNFINISHED, errors_named

BLOCK = 1 << 16


def unfinished(path: Path) -> Path:
    """The temporary path at which `path` is created or deleted; `sweep` removes leftovers."""
    return path.with_name(f"{unfinished_prefix(path)}{os.getpid()}")


def unfinished_prefix(path: Path) -> str:
    """Of the names under which processes create or delete `path`."""
    return f".{path.name}{UNFINISHED}"


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left behind."""
    for leftover in folder.glob(f".*{UNFINISHED}*"):
        remove(leftover)


def remove(path: Path) -> None:
    """A file or a folder that may not exist."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is complete and synced to disk."""
    beside = unfinished(path)
    with errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            remove(beside)
            raise
        sync(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    with written_atomically(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


def sync(path: Path) -> None:
    """Without it a power failure may lose written data or a rename."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


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
