"""Kills at random moments, damaged files and full disks: is the end ever wrong, or an error not one line?

    python -m benchmarks.faults --kills 100 --seed 0

A run is a forked process, so that a start costs no imports. It is killed at a random moment, resumed, killed
again, and in the end its files are compared, byte by byte, with those of an unbroken run.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from tests.faults.runs import DAMAGES, outcome, run, run_until_trained
from tests.faults.test_damage import CASES
from tests.faults.test_damage import attempt as attempt_damage
from tests.faults.test_disk import attempt as attempt_disk
from tests.faults.test_disk import writes_of_a_run

from xreasoner.cli.failures import in_one_line
from xreasoner.launch import interrupts
from xreasoner.miniworld.model import Size, new_base, save_base
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import check
from xreasoner.rewards.grade import Grader
from xreasoner.storage.files import UNFINISHED

QUIET = Console(quiet=True)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS_IN_A_ROW = 4
DATA = [{"source": "miniworld", "families": ["sums"], "steps": [1, 1], "count": 40}]
SFT = {"kind": "sft", "data": DATA, "steps": 12, "lr": 3e-3, "tokens_per_step": 512, "checkpoint_every": 3}
GRPO = {
    "kind": "grpo", "data": DATA, "steps": 4, "lr": 1e-3, "prompts_per_step": 4, "samples_per_prompt": 4,
    "think_budget": 12, "answer_budget": 6, "skip_zero_spread": False, "held_out": 4, "eval_every": 2,
    "samples_every": 2, "checkpoint_every": 1,
}  # fmt: skip
EVALUATION = {
    "think_budget": 16, "answer_budget": 6, "samples": 2, "temperature": 1.0, "rows": 8,
    "benchmarks": [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 6}],
}  # fmt: skip
NOT_EVALUATED = {"benchmarks": [], "after": []}


@dataclass
class Tally:
    what: str
    tried: int = 0
    survived: int = 0
    """Ended as an unbroken run, or was refused in one line that says what to do."""
    wrong: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        notes = ", ".join(f"{count} {name}" for name, count in sorted(self.notes.items()))
        return f"| {self.what} | {self.tried} | {self.survived} | {len(self.wrong)} | {notes} |"


# --- kills ----------------------------------------------------------------------------------------------


def recipe_of(model: Path, stages: dict[str, dict], evaluation: dict) -> Callable[[Path], None]:
    def work(out: Path) -> None:
        raw = {"name": "t", "model": str(model), "out": str(out), "stages": stages, "evaluation": evaluation}
        run_recipe(check(raw, "faults"), QUIET)

    return work


def distillation(model: Path) -> Callable[[Path], None]:
    from xreasoner.distill.distill import distill
    from xreasoner.distill.settings import Distillation
    from xreasoner.distill.teacher import teacher_engine

    def work(out: Path) -> None:
        raw = {
            "name": "d", "out": out, "data": DATA,
            "teacher": {"kind": "torch", "model": str(model), "rows": 8},
            "samples": 2, "temperature": 1.0, "think_budget": 12, "answer_budget": 6,
        }  # fmt: skip
        settings = Distillation.model_validate(raw)
        with Grader() as grader:
            distill(settings, teacher_engine(settings.teacher), grader, lambda line: None)

    return work


def started(work: Callable[[Path], None], out: Path, processes: int, said: Path) -> list[int]:
    """The ranks of one run, forked. Their exit codes are those of the command line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sys.stdout.flush()
    return [pid for rank in range(processes) if (pid := forked(work, out, rank, processes, port, said))]


def forked(work: Callable[[Path], None], out: Path, rank: int, processes: int, port: int, said: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    with said.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if processes > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    interrupts.raise_on_signals()
    try:
        work(out)
        code = 0
    except interrupts.Interrupted as stop:
        code = 128 + stop.by
    except BaseException as error:
        line = in_one_line(error)
        code = 2 if line and "\n" not in line else 1
        print(f"{type(error).__name__}: {line or error}", flush=True)
    os._exit(code)


def waited(pids: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def files_of(out: Path) -> dict[str, bytes]:
    thoughts = {path.name: path.read_bytes() for path in out.glob("thoughts.jsonl")}
    results = {path.name: tabled(path) for path in out.glob("results.json")}
    return outcome(out) | thoughts | results


def tabled(path: Path) -> bytes:
    content = json.loads(path.read_text())
    return json.dumps({key: content[key] for key in ("results", "comparisons", "groups")}).encode()


def killed(
    what: str, work: Callable[[Path], None], processes: int, kills: int, rng: random.Random, folder: Path
) -> Tally:
    tally, said = Tally(what), folder / "said"
    began = time.monotonic()
    codes = waited(started(work, folder / "unbroken", processes, said))
    assert codes == [0] * processes, said.read_text()
    seconds, wanted = time.monotonic() - began, files_of(folder / "unbroken")
    while tally.tried < kills:
        out, story = folder / f"broken-{tally.tried}", []
        for _ in range(KILLS_IN_A_ROW):
            tally.tried += 1
            pids = started(work, out, processes, said)
            story.append((rng.choice(SIGNALS).name, round(rng.uniform(0, seconds), 2)))
            time.sleep(story[-1][1])
            # torchrun sends every rank TERM or INT; a KILL hits one of them.
            number = signal.Signals[story[-1][0]]
            for pid in pids if number != signal.SIGKILL else [rng.choice(pids)]:
                os.kill(pid, number)
            tally.notes[f"by {number.name}"] += 1
            codes = waited(pids)
            allowed = {0, 128 + number, -number} | ({1} if processes > 1 else set())
            if not set(codes) <= allowed:
                tally.wrong.append(f"{what}: {story} ended with {codes}")
        codes = waited(started(work, out, processes, said))
        found = files_of(out)
        differ = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        left = [str(path) for path in out.rglob(f"*{UNFINISHED}*")]
        if codes != [0] * processes or differ or left:
            tally.wrong.append(f"{what}: after {story}: {codes}, {differ}, {left}")
        else:
            tally.survived += KILLS_IN_A_ROW
            shutil.rmtree(out)
    return tally


# --- damage and full disks ------------------------------------------------------------------------------


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
            tried(tally, f"{situation} {file} {damage.__name__}",
                  lambda: attempt_damage(runs, model, out, situation, file, damage))  # fmt: skip  # noqa: B023
            shutil.rmtree(out)
    return tally


def full(model: Path, folder: Path, every: int) -> Tally:
    tally = Tally("disk full from the n-th write on")
    writes = writes_of_a_run(model, folder / "unbroken")
    wanted = outcome(folder / "unbroken")
    for call in range(1, writes + 1, every):
        out = folder / f"full-{call}"
        tried(tally, f"write {call}", lambda: attempt_disk(model, out, call, wanted))  # noqa: B023
        shutil.rmtree(out, ignore_errors=True)
    tally.notes["writes in a run"] = writes
    return tally


def tried(tally: Tally, name: str, attempt: Callable[[], str | None]) -> None:
    tally.tried += 1
    try:
        end = attempt()
    except Exception as error:
        tally.wrong.append(f"{tally.what}: {name}: {type(error).__name__}: {str(error)[:300]}")
        return
    tally.survived += 1
    if end:
        tally.notes[end] += 1


def tallies(model: Path, folder: Path, kills: int, every: int, rng: random.Random) -> Iterator[Tally]:
    sft, grpo = {"sft": SFT}, {"rl": GRPO}
    runs = {
        "SFT": (recipe_of(model, sft, NOT_EVALUATED), 1),
        "GRPO": (recipe_of(model, grpo, NOT_EVALUATED), 1),
        "evaluation and report": (recipe_of(model, {}, EVALUATION), 1),
        "SFT, GRPO, evaluation, report": (recipe_of(model, sft | grpo, EVALUATION), 1),
        "distillation": (distillation(model), 1),
        "SFT, two processes": (recipe_of(model, sft, NOT_EVALUATED), 2),
        "GRPO, evaluation, report, two processes": (recipe_of(model, grpo, EVALUATION), 2),
    }
    # Damage and full disks run in this process, which must have no threads when it forks: so they come last.
    for number, (what, (work, processes)) in enumerate(runs.items() if kills else ()):
        place = folder / str(number)
        place.mkdir()
        yield killed(f"killed: {what}", work, processes, kills, rng, place)
    if every:
        yield damaged(model, folder / "damage")
        yield full(model, folder / "disk", every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=28, help="of each kind of run; 0: none")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="every n-th write meets the full disk; 0: no damage, no full disks",
    )
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    size = Size(32, 2, 2, 1, 64, vision_hidden=32, vision_layers=1, rope_sections=(0, 1, 7))
    save_base(new_base(0, size)[0], folder / "base")
    print("| what | tried | survived | wrong | |\n|---|---|---|---|---|")
    wrong = []
    for tally in tallies(folder / "base", folder, chosen.kills, chosen.every, random.Random(chosen.seed)):
        print(tally.line(), flush=True)
        wrong += tally.wrong
    print(*wrong, sep="\n")
    shutil.rmtree(folder, ignore_errors=not wrong)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
