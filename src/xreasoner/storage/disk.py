"""Failed writes with the path in their message, and the room on a disk before much is written."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished-"
FULL_BELOW = 2**20
"""Bytes. torch's writer does not say why it failed, so the disk is asked."""


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """A write that fails becomes an OSError that names `path`, whatever the library calls it."""
    try:
        yield
    except Exception as error:
        number = None if is_named(error) else error_number(error, path)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def is_named(error: Exception) -> bool:
    """Neither the source of a copy nor a temporary name tells the user where the write failed."""
    if not isinstance(error, OSError) or not error.filename or error.filename2:
        return False
    return UNFINISHED not in str(error.filename)


def error_number(error: Exception, path: Path) -> int | None:
    if isinstance(error, shutil.Error) and (found := re.search(r"\[Errno (\d+)\]", str(error))):
        return int(found[1])  # copytree collects what went wrong
    if isinstance(error, OSError):
        return error.errno
    if found := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors, written in Rust
        return int(found[1])
    if "inline_container.cc" in str(error):  # torch.save
        return errno.ENOSPC if room(path) < FULL_BELOW else errno.EIO
    return None


def room(path: Path) -> int:
    """Free bytes on the disk of a path that may not exist yet."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def require_room(path: Path, needed: int, what: str) -> None:
    """Before a long work or a large write, so that it does not fail in the middle."""
    if (free := room(path)) < needed:
        raise ValueError(
            f"{path}: {what} needs {in_units(needed)}, and its disk has {in_units(free)} free; "
            "make room, then run the same command again"
        )


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_units(size: int) -> str:
    unit = next((unit for unit in ("GB", "MB", "kB") if size >= SIZES[unit]), "bytes")
    return f"{size / SIZES[unit]:,.1f} {unit}" if unit in SIZES else f"{size} bytes"


SIZES = {"GB": 10**9, "MB": 10**6, "kB": 10**3}


class LineFile:
    """Lines appended to a file, each of them written when `write` returns. Closing it cannot fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with errors_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def write(self, line: str) -> None:
        data = memoryview(line.encode())
        with errors_named(self.path):
            while data:
                data = data[os.write(self._handle, data) :]

    def __enter__(self) -> "LineFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._handle)
