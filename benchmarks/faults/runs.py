"""Small runs of every kind, each rank a forked process, so that a start costs no imports."""

import json
import os
import re
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from tests.faults.runs import outcome
from transformers.utils.logging import disable_progress_bar

from xreasoner.cli.failures import in_one_line
from xreasoner.distill.distill import distill
from xreasoner.distill.settings import Distillation
from xreasoner.distill.teacher import teacher_engine
from xreasoner.launch import interrupts
from xreasoner.miniworld.base import make
from xreasoner.miniworld.base.settings import BaseSettings
from xreasoner.miniworld.model import Size, new_model
from xreasoner.miniworld.pictures.worlds import QUICKSTART
from xreasoner.miniworld.probes import measure
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import check
from xreasoner.records import Sampling
from xreasoner.report import budget_curves, curves, plots
from xreasoner.report.write import write_report
from xreasoner.rewards.grade import Grader
from xreasoner.train import sft

QUIET = Console(quiet=True)
SIZE = Size(32, 1, 2, 1, 64, vision_hidden=32, vision_layers=1, rope_sections=(0, 1, 7))
DATA = [{"source": "miniworld", "families": ["sums"], "steps": [1, 1], "count": 24}]
SFT = {
    "kind": "sft", "data": DATA, "steps": 2, "lr": 3e-3, "tokens_per_step": 256, "checkpoint_every": 1,
    "held_out": 2, "eval_every": 2, "keep_best": True,
}  # fmt: skip
GRPO = {
    "kind": "grpo", "data": DATA, "steps": 2, "lr": 1e-3, "prompts_per_step": 2, "samples_per_prompt": 3,
    "think_budget": 8, "answer_budget": 4, "skip_zero_spread": False, "held_out": 2, "eval_every": 2,
    "samples_every": 2, "checkpoint_every": 1,
}  # fmt: skip
EVALUATION = {
    "think_budget": 12, "answer_budget": 4, "budgets": [4], "samples": 2, "temperature": 1.0, "rows": 8,
    "benchmarks": [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 2}],
}  # fmt: skip
LONGER_SFT = SFT | {"steps": 9, "checkpoint_every": 2, "held_out": 3, "eval_every": 3}
LONGER_GRPO = GRPO | {"steps": 6, "prompts_per_step": 3, "held_out": 3}
LONGER_EVALUATION = EVALUATION | {
    "budgets": [2, 4], "samples": 3,
    "benchmarks": [{"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 8}],
}  # fmt: skip
"""Those above are as short as they can be. `kinds_of_writes` compares them with these."""
NOT_EVALUATED = {"benchmarks": [], "after": []}

TOOK = re.compile(r" · \d+ min \d+ s")

Work = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """One kind of run."""

    work: Work
    """Makes what a path names, or goes on with it."""
    processes: int = 1
    starts_from: Path | None = None
    """A folder that is copied first."""

    def place(self, out: Path) -> Path:
        out.parent.mkdir(exist_ok=True)
        if self.starts_from:
            shutil.copytree(self.starts_from, out)
        return out


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


def recipe_of(model: Path, stages: dict[str, dict], evaluation: dict = NOT_EVALUATED) -> Work:
    def work(out: Path) -> None:
        raw = {"name": "t", "model": str(model), "out": str(out), "stages": stages, "evaluation": evaluation}
        run_recipe(check(raw, "faults"), QUIET)

    return work


def distillation(model: Path) -> Work:
    def work(out: Path) -> None:
        raw = {
            "name": "d", "out": out, "data": DATA,
            "teacher": {"kind": "torch", "model": str(model), "rows": 8},
            "samples": 2, "temperature": 1.0, "think_budget": 8, "answer_budget": 4,
        }  # fmt: skip
        settings = Distillation.model_validate(raw)
        with Grader() as grader:
            distill(settings, teacher_engine(settings.teacher), grader, lambda line: None)

    return work


def base_building(out: Path) -> None:
    """Without the lessons, which write nothing and take minutes."""
    if out.is_dir():  # complete, or it would not be there; the command refuses to write over it
        return
    make.make_base = lambda settings, *_: new_model(settings.size, settings.seed)
    make.PROBLEMS, measure.SAMPLING = 1, Sampling(think_budget=2, answer_budget=1)
    make.build_base(BaseSettings(size=SIZE), QUICKSTART, out, lambda line: None, None)


def kinds(model: Path, folder: Path) -> dict[str, Kind]:
    """By name. `folder` gets what some of them start from.

    This process runs some of them to their end, so that those it forks find everything imported."""
    disable_progress_bar()  # a line of its own
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # after a fork, a line about it
    for module in (curves, plots, budget_curves):  # most of the time of a report, and they leave no files
        module.draw = lambda *_, **__: ""
    train_sft, train_grpo = recipe_of(model, {"sft": SFT}), recipe_of(model, {"rl": GRPO})
    evaluation = recipe_of(model, {}, EVALUATION)
    everything = recipe_of(model, {"sft": SFT, "rl": GRPO}, EVALUATION)
    answered, stopped = folder / "answered", folder / "stopped"
    everything(folder / "everything")
    evaluation(answered)
    for made in ("results.json", "report.html"):
        (answered / made).unlink()
    shutil.rmtree(answered / "reader")
    leave_state(train_sft, stopped)
    return {
        "SFT": Kind(train_sft),
        "SFT, resumed": Kind(train_sft, starts_from=stopped),
        "GRPO": Kind(train_grpo),
        "evaluation": Kind(evaluation),
        "distillation": Kind(distillation(model)),
        "base": Kind(base_building),
        "report": Kind(write_report, starts_from=answered),
        "SFT, two processes": Kind(train_sft, 2),
        "SFT, two processes, resumed": Kind(train_sft, 2, starts_from=stopped),
        "GRPO, two processes": Kind(train_grpo, 2),
        "evaluation, two processes": Kind(evaluation, 2),
        "SFT, GRPO, evaluation, report, two processes": Kind(everything, 2),
    }


def longer_kinds(model: Path) -> dict[str, Kind]:
    """More steps, states, problems and answers."""
    train_sft, train_grpo = recipe_of(model, {"sft": LONGER_SFT}), recipe_of(model, {"rl": LONGER_GRPO})
    evaluation = recipe_of(model, {}, LONGER_EVALUATION)
    works = {"SFT": train_sft, "GRPO": train_grpo, "evaluation": evaluation}
    return {f"{name}{more}": Kind(work, processes)
            for processes, more in ((1, ""), (2, ", two processes"))
            for name, work in works.items()}  # fmt: skip


class StoppedError(Exception):
    """Stands for a kill."""


def leave_state(work: Work, out: Path) -> None:
    """A run that ended after its last step, before its result: it has a state and a best checkpoint."""

    def stop(*_: object) -> None:
        raise StoppedError

    real, sft.write_result = sft.write_result, stop
    with suppress(StoppedError):
        work(out)
    sft.write_result = real


# --- processes ------------------------------------------------------------------------------------------


def started(kind: Kind, out: Path, said: Path) -> list[int]:
    """The ranks of one run, forked. They end as the command line does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sys.stdout.flush()
    return [forked(kind, out, rank, port, said) for rank in range(kind.processes)]


def forked(kind: Kind, out: Path, rank: int, port: int, said: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    with said.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if kind.processes > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(kind.processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    interrupts.raise_on_signals()
    try:
        kind.work(out)
        code = 0
    except interrupts.Interrupted as stop:
        code = 128 + stop.by
    except BaseException as error:
        line = in_one_line(error)
        code = 2 if line and "\n" not in line else 1
        print(line or repr(error), flush=True)
    os._exit(code)


def waited(pids: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def processor_seconds(pid: int) -> float | None:
    """None once it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_work(pid: int, seconds: float) -> None:
    """Until a process has used this much of a processor, or has ended. The machine's load moves nothing."""
    while (used := processor_seconds(pid)) is not None and used < seconds:
        time.sleep(0.002)


# --- what a run leaves ----------------------------------------------------------------------------------


def files_of(out: Path) -> dict[str, bytes]:
    """What must not depend on what happened meanwhile: weights, answers, tables, pages."""
    plain = [
        *out.glob("thoughts.jsonl"),
        *out.glob("*.safetensors"),
        *out.glob("*.json"),
        *out.glob("*.jinja"),
    ]
    shown = [path for name in ("*.*", "text/*", "pictures/*") for path in (out / "reader").glob(name)]
    found = outcome(out) | {path.name: path.read_bytes() for path in (*plain, *shown)}
    pages = {path.name: TOOK.sub("", path.read_text()).encode() for path in out.glob("report.html")}
    return found | pages | {path.name: tabled(path) for path in out.glob("results.json")}


def tabled(path: Path) -> bytes:
    content = json.loads(path.read_text())
    return json.dumps({key: content[key] for key in ("results", "comparisons", "groups", "budgets")}).encode()


def differing(out: Path, wanted: dict[str, bytes]) -> list[str]:
    found = files_of(out)
    return [
        difference(name, found.get(name), wanted.get(name))
        for name in sorted(wanted | found)
        if wanted.get(name) != found.get(name)
    ]


def difference(name: str, found: bytes | None, wanted: bytes | None) -> str:
    if found is None or wanted is None:
        return f"{name} is {'missing' if found is None else 'new'}"
    pairs = enumerate(zip_longest(found, wanted))
    first = next(place for place, (one, other) in pairs if one != other)
    near = slice(max(0, first - 20), first + 40)
    return f"{name} from byte {first:,} on: {found[near]!r} in place of {wanted[near]!r}"
