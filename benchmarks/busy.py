"""How much slower the quickstart gets beside other work, for each way to use the cores.

    python benchmarks/busy.py [--ways spinning passive processes] [--rounds 1]

A short form of the quickstart runs on the machine alone, then beside one process for each core that does
nothing but compute. Half of the cores' time is the run's then: with a ratio of 1 it takes twice as long.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
SHORT = ["sft.steps=60", "rl.steps=6", "med-sft=null", "med-rl=null", "evaluation.after=[rl]"]
CORES = os.cpu_count() or 1
WAYS: dict[str, tuple[dict[str, str], list[str]]] = {
    "spinning": ({"OMP_WAIT_POLICY": "ACTIVE"}, []),
    "passive": ({"OMP_WAIT_POLICY": "PASSIVE"}, []),
    "processes": ({"OMP_NUM_THREADS": "1"}, ["--gpus", str(CORES)]),
    "one thread": ({"OMP_NUM_THREADS": "1"}, []),
}
"""Environment and arguments."""


@contextmanager
def others(count: int) -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def seconds(way: str) -> float:
    environment, arguments = WAYS[way]
    with TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "xreasoner", "run", str(QUICKSTART), *SHORT, "--out", f"{folder}/run"]
        started = time.perf_counter()
        subprocess.run([*run, *arguments], env=os.environ | environment, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=1)
    wanted = parser.parse_args()
    print(f"{CORES} cores\n| way | alone, s | beside {CORES} others, s | ratio |\n|---|---|---|---|")
    for _ in range(wanted.rounds):
        for way in wanted.ways:
            alone = seconds(way)
            with others(CORES):
                beside = seconds(way)
            print(f"| {way} | {alone:.0f} | {beside:.0f} | {beside / 2 / alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
