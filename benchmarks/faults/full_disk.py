"""The disk is full from the n-th write on, for each n: one line, and the same command ends as unbroken.

`full_disk.c`, preloaded, fails the writes of every library, not only those of Python. Many writes leave the
same files behind, so the command is run again once for each different folder that was left.
"""

import shutil
import sys
from pathlib import Path

from benchmarks.faults.kinds_of_writes import NEVER, run_until_full
from benchmarks.faults.runs import Kind, Tally, differing, files_of, started, waited
from benchmarks.faults.what_is_left import what_is_left

from xreasoner.storage.files import UNFINISHED


def full_disk(what: str, kind: Kind, first: int, short: bool, folder: Path) -> Tally:
    tally, said = Tally(f"disk full: {what}"), folder / "said"
    unbroken = kind.place(folder / "unbroken" / "out")
    codes, kinds = run_until_full(kind, unbroken, NEVER, said)
    assert codes == [0] * kind.processes, said.read_text()
    wanted, met, resumed = files_of(unbroken), set[str](), set[str]()
    ends, others = ends_of_kinds(kinds)
    for call in (ends if short else ends + others)[first - 1 :]:
        out = folder / f"full-{call}" / "out"
        write, found = attempt(kind, out, call, wanted, said, resumed)
        tally.tried += 1
        met |= set(write)
        if found:
            tally.wrong.append(f"{tally.what}: write {call}, {write}: {found}")
        else:
            tally.survived += 1
            shutil.rmtree(out.parent)
        print(f"write {call} of {len(kinds)}: {tally.line()}", file=sys.stderr)  # a series takes hours
    tally.notes |= {"writes in a run": len(kinds), "kinds of them": len(set(kinds))}
    tally.notes |= {"kinds met": len(met & set(kinds)), "folders resumed": len(resumed)}
    return tally


def ends_of_kinds(kinds: list[str]) -> tuple[list[int], list[int]]:
    """The first and the last write of each kind, and all others, by their number."""
    places = dict[str, list[int]]()
    for call, kind in enumerate(kinds, start=1):
        places.setdefault(kind, []).append(call)
    ends = {end for calls in places.values() for end in (calls[0], calls[-1])}
    return sorted(ends), [call for call in range(1, len(kinds) + 1) if call not in ends]


def attempt(
    kind: Kind, out: Path, call: int, wanted: dict[str, bytes], said: Path, resumed: set[str]
) -> tuple[list[str], str | None]:
    """The kind of the write that met the full disk, and what is wrong, if anything."""
    said.write_text("")
    codes, write = run_until_full(kind, kind.place(out), call, said)
    if wrong := wrong_end(kind, out, codes, said.read_text().splitlines()):
        return write, wrong
    left = what_is_left(out)
    if left in resumed:
        return write, None
    codes = waited(started(kind, out, said))
    if codes != [0] * kind.processes:
        return write, f"the second run ended with {codes}: {said.read_text()}"
    if differ := differing(out, wanted):
        return write, f"other files: {differ}"
    resumed.add(left)
    return write, None


def wrong_end(kind: Kind, out: Path, codes: list[int], lines: list[str]) -> str | None:
    named = [line for line in lines if "No space left on device" in line and str(out) in line]
    # Another rank may have been done with its part before.
    if 2 not in codes or not set(codes) <= {0, 1, 2} or not named:
        return f"ended with {codes}: {lines}"
    if kind.processes == 1 and len(lines) > 1:
        return f"more than one line: {lines}"
    left = [str(path) for path in out.parent.rglob(f"*{UNFINISHED}*")]
    return f"left behind: {left}" if left else None
