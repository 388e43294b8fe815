"""The wall clock jumps by up to ten years whenever it is read: nothing may change, end early or hang."""

import ctypes
import time
from pathlib import Path

from benchmarks.faults.runs import Kind, Tally, differing, files_of, started, waited

SLOWER = 5
"""Times what an unbroken run took: another job may have the processor meanwhile."""


def clock_jumps(what: str, kind: Kind, folder: Path) -> Tally:
    tally, said = Tally(f"clock jumps: {what}", tried=1), folder / "said"
    began = time.monotonic()
    codes = waited(started(kind, kind.place(folder / "unbroken" / "out"), said))
    assert codes == [0] * kind.processes, said.read_text()
    unbroken = time.monotonic() - began

    library, out = ctypes.CDLL(None), kind.place(folder / "jumping" / "out")
    library.clock_jumps(1)
    began = time.monotonic()
    codes = waited(started(kind, out, said))
    took = time.monotonic() - began
    library.clock_jumps(0)
    differ = differing(out, files_of(folder / "unbroken" / "out"))
    if codes != [0] * kind.processes or differ or took > SLOWER * unbroken + 10:
        tally.wrong.append(f"{tally.what}: {codes}, {differ}, {took:.1f} s where {unbroken:.1f} are usual")
    else:
        tally.survived = 1
    return tally
