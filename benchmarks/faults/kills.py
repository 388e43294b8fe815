"""A run is killed at a random moment, resumed, killed again, and at the end compared with an unbroken one."""

import os
import random
import shutil
import signal
from pathlib import Path

from benchmarks.faults.runs import (
    Kind,
    Tally,
    differing,
    files_of,
    processor_seconds,
    started,
    wait_for_work,
    waited,
)

from xreasoner.storage.files import UNFINISHED

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS_IN_A_ROW = 4


def killed(what: str, kind: Kind, kills: int, rng: random.Random, folder: Path) -> Tally:
    """The folder of what went wrong is kept, with what its processes said."""
    tally = Tally(f"killed: {what}")
    seconds = unbroken(kind, folder / "unbroken" / "out", folder / "said")
    wanted = files_of(folder / "unbroken" / "out")
    while tally.tried < kills:
        out = kind.place(folder / f"broken-{tally.tried}" / "out")
        said, story = out.parent / "said", list[str]()
        before, wrong_before = tally.tried, len(tally.wrong)
        while len(story) < KILLS_IN_A_ROW and killed_once(tally, kind, out, rng, seconds, said, story):
            tally.tried += 1
        codes = waited(started(kind, out, said))
        differ = differing(out, wanted)
        left = [str(path) for path in out.parent.rglob(f"*{UNFINISHED}*")]
        if codes != [0] * kind.processes or differ or left:
            tally.wrong.append(f"{what}: {out}: after {story}: {codes}, {differ}, left: {left}")
        if len(tally.wrong) == wrong_before:
            tally.survived += tally.tried - before
            shutil.rmtree(out.parent)
    return tally


def unbroken(kind: Kind, out: Path, said: Path) -> float:
    """CPU seconds of its first rank."""
    pids = started(kind, kind.place(out), said)
    while (used := processor_seconds(pids[0])) is not None:
        last = used
        wait_for_work(pids[0], used + 0.01)
    assert waited(pids) == [0] * kind.processes, said.read_text()
    return last


def killed_once(
    tally: Tally, kind: Kind, out: Path, rng: random.Random, seconds: float, said: Path, story: list[str]
) -> bool:
    """False where the run was finished before the kill."""
    pids = started(kind, out, said)
    number, moment = rng.choice(SIGNALS), rng.uniform(0, seconds)
    wait_for_work(pids[0], moment)
    # torchrun sends every rank TERM or INT; a KILL hits one of them.
    for pid in pids if number != signal.SIGKILL else [rng.choice(pids)]:
        os.kill(pid, number)
    codes = waited(pids)
    story.append(f"{number.name} at {moment:.2f} s")
    allowed = {0, 128 + number, -number} | ({1} if kind.processes > 1 else set())
    if not set(codes) <= allowed:
        tally.wrong.append(f"{tally.what}: {story} ended with {codes}: {said.read_text()[-500:]}")
    if set(codes) == {0}:
        return False
    tally.notes[f"by {number.name}"] += 1
    return True
