"""Which kinds of writes a run makes: the call, the name of the file without its numbers, and who called.

A short run that makes all kinds of a longer one stands for it.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmarks.faults.runs import Kind, started, waited

TOLD = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)
NOBODY = TOLD()
OURS = f"{os.sep}xreasoner{os.sep}"
DIGEST = re.compile(r"[0-9a-f]{12,}")
STORAGE = f"{OURS}storage{os.sep}"
NUMBER = re.compile(r"\d+")
NEVER = 2**40


def run_until_full(kind: Kind, out: Path, call: int, said: Path) -> tuple[list[int], list[str]]:
    """The exit codes, and the kind of the write that filled the disk; of all writes if it never was full."""
    library, kinds = ctypes.CDLL(None), out.parent / "kinds"
    out.parent.mkdir(exist_ok=True)
    with noted(kinds, out.parent, library, call == NEVER):
        library.disk_full_from(str(out).encode(), ctypes.c_long(call))
        codes = waited(started(kind, out, said))
        library.disk_full_from(b"", ctypes.c_long(0))
    return codes, kinds.read_text().splitlines()


@contextmanager
def noted(kinds: Path, folder: Path, library: ctypes.CDLL, all_of_them: bool) -> Iterator[None]:
    """All processes append to one file, in which no write counts."""
    handle = os.open(kinds, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def note(call: bytes, path: bytes) -> None:
        name = os.path.relpath(path.decode(), folder)
        pattern = NUMBER.sub("#", DIGEST.sub("*", name))
        os.write(handle, f"{call.decode()} {pattern} by {caller(sys._getframe())}\n".encode())

    told = TOLD(note)
    library.disk_tells(told, all_of_them)
    yield
    library.disk_tells(NOBODY, 0)
    os.close(handle)


def caller(frame: FrameType | None) -> str:
    """The innermost function of ours outside `storage`; a thread of a library has none."""
    while frame and (OURS not in frame.f_code.co_filename or STORAGE in frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "a library"
    return f"{frame.f_code.co_filename.rpartition(OURS)[2]}:{frame.f_code.co_qualname}"


def only_in_one(short: Kind, longer: Kind, folder: Path) -> tuple[int, list[str]]:
    """How many kinds of writes both runs make, and those that only one of them makes."""
    found = []
    for kind, name in ((short, "short"), (longer, "longer")):
        out = kind.place(folder / name / "out")
        codes, kinds = run_until_full(kind, out, NEVER, folder / name / "said")
        assert codes == [0] * kind.processes
        found.append(set(kinds))
    lacking = [f"only in the longer run: {one}" for one in sorted(found[1] - found[0])]
    return len(found[0] & found[1]), lacking + [
        f"only in the short run: {one}" for one in found[0] - found[1]
    ]
