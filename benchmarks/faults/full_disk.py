"""The disk is full from the n-th write on, for each n: one line, and the same command ends as unbroken.

`full_disk.c`, preloaded, fails the writes of every library, not only those of Python.
"""

import ctypes
import shutil
import sys
from pathlib import Path

from benchmarks.faults.runs import Kind, Tally, differing, files_of, started, waited

from xreasoner.storage.files import UNFINISHED

NEVER = 2**40


def full_disk(what: str, kind: Kind, every: int, first: int, folder: Path) -> Tally:
    tally, said = Tally(f"disk full: {what}"), folder / "said"
    codes, writes = run_until_full(kind, kind.place(folder / "unbroken" / "out"), NEVER, said)
    assert codes == [0] * kind.processes, said.read_text()
    wanted = files_of(folder / "unbroken" / "out")
    for call in range(first, writes + 1, every):
        tally.tried += 1
        out = folder / f"full-{call}" / "out"
        if found := attempt(kind, out, call, wanted, said):
            tally.wrong.append(f"{tally.what}: write {call}: {found}")
        else:
            tally.survived += 1
            shutil.rmtree(out.parent)
        print(f"write {call} of {writes}: {tally.line()}", file=sys.stderr)  # a series takes hours
    tally.notes["writes in a run"] = writes
    return tally


def attempt(kind: Kind, out: Path, call: int, wanted: dict[str, bytes], said: Path) -> str | None:
    """What is wrong, if anything."""
    said.write_text("")
    codes, _ = run_until_full(kind, kind.place(out), call, said)
    lines = said.read_text().splitlines()
    named = [line for line in lines if "No space left on device" in line and str(out.parent) in line]
    # Another rank may have been done with its part before.
    if 2 not in codes or not set(codes) <= {0, 1, 2} or not named:
        return f"ended with {codes}: {lines}"
    if kind.processes == 1 and len(lines) > 1:
        return f"more than one line: {lines}"
    if left := [str(path) for path in out.parent.rglob(f"*{UNFINISHED}*")]:
        return f"left behind: {left}"
    codes = waited(started(kind, out, said))
    if codes != [0] * kind.processes:
        return f"the second run ended with {codes}: {said.read_text()}"
    return f"other files: {differ}" if (differ := differing(out, wanted)) else None


def run_until_full(kind: Kind, out: Path, call: int, said: Path) -> tuple[list[int], int]:
    """The exit codes, and the writes of all its processes."""
    library = ctypes.CDLL(None)
    library.disk_full_from(str(out.parent).encode(), ctypes.c_long(call))
    codes = waited(started(kind, out, said))
    library.disk_full_from(b"", ctypes.c_long(0))
    return codes, library.disk_writes()
