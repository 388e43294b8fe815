"""One damaged file of a run: every kind of file, damaged in each of four ways."""

import shutil
from pathlib import Path

from benchmarks.faults.runs import Tally
from tests.faults.runs import DAMAGES, run, run_until_trained
from tests.faults.test_damage import CASES, attempt


def damaged(model: Path, folder: Path) -> Tally:
    tally, runs = Tally("one damaged file"), folder / "runs"
    run_until_trained(model, runs / "stopped")
    shutil.copytree(runs / "stopped", runs / "finished")
    run(model, runs / "finished")
    for situation in ("unevaluated", "continued"):
        shutil.copytree(runs / "finished", runs / situation)
    shutil.rmtree(runs / "unevaluated" / "evals" / "sft")
    for situation, file in CASES:
        for damage in DAMAGES:
            out = folder / "out"
            tally.tried += 1
            try:
                tally.notes[attempt(runs, model, out, situation, file, damage)] += 1
                tally.survived += 1
            except Exception as error:
                said = f"{type(error).__name__}: {str(error)[:300]}"
                tally.wrong.append(f"{situation} {file} {damage.__name__}: {said}")
            shutil.rmtree(out)
    return tally
