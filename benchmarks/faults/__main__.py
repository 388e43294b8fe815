"""Kills, full disks, clocks that jump, damaged files: is the end ever wrong, or an error not one line?

    OMP_NUM_THREADS=1 python -m benchmarks.faults kills --count 20 --seed 0
    OMP_NUM_THREADS=1 python -m benchmarks.faults writes
    OMP_NUM_THREADS=1 python -m benchmarks.faults disk [--only SFT] [--first 1] [--short]
    OMP_NUM_THREADS=1 python -m benchmarks.faults clock
    OMP_NUM_THREADS=1 python -m benchmarks.faults damage

The files of a run that met a fault are compared, byte by byte, with those of an unbroken one. `writes`
compares the kinds of writes of these short runs with those of longer ones.
"""

import argparse
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.clock import clock_jumps
from benchmarks.faults.damage import damaged
from benchmarks.faults.full_disk import full_disk
from benchmarks.faults.kills import killed
from benchmarks.faults.kinds_of_writes import only_in_one
from benchmarks.faults.preload import preload
from benchmarks.faults.runs import SIZE, Tally, kinds, longer_kinds

from xreasoner.miniworld.model import new_base, save_base


def tallies(chosen: argparse.Namespace, folder: Path) -> Iterator[Tally]:
    model = folder / "base"
    save_base(new_base(0, SIZE)[0], model)
    if chosen.fault == "damage":
        yield damaged(model, folder)
        return
    rng, known, longer = random.Random(chosen.seed), kinds(model, folder), longer_kinds(model)
    for number, what in enumerate(chosen.only or (longer if chosen.fault == "writes" else known)):
        kind, place = known[what], folder / str(number)
        place.mkdir()
        if chosen.fault == "kills":
            yield killed(what, kind, chosen.count, rng, place)
        elif chosen.fault == "clock":
            yield clock_jumps(what, kind, place)
        elif chosen.fault == "writes":
            both, differ = only_in_one(kind, longer[what], place)
            yield Tally(f"kinds of writes: {what}", both + len(differ), both, differ)
        else:
            yield full_disk(what, kind, chosen.first, chosen.short, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", choices=["kills", "disk", "clock", "damage", "writes"])
    parser.add_argument("--count", type=int, default=20, help="kills of each kind of run")
    parser.add_argument("--first", type=int, default=1, help="full disks: where to go on in the series")
    parser.add_argument("--short", action="store_true", help="full disks: the first and last write of a kind")
    parser.add_argument("--only", nargs="+", help="these kinds of runs, in this order")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.fault in ("disk", "clock", "writes"):
        preload()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print("| what | tried | survived | wrong | |\n|---|---|---|---|---|", flush=True)
    wrong = list[str]()
    for tally in tallies(chosen, folder):
        print(tally.line(), flush=True)
        wrong += tally.wrong
    print(*wrong, sep="\n")
    if wrong:
        print(f"kept in {folder}")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{sum(one.ru_utime + one.ru_stime for one in used) / 60:.1f} CPU minutes")
    if not wrong:
        shutil.rmtree(folder)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
