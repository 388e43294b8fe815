"""Ask a checkpoint every benchmark of a recipe; what it answered before is not asked again."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console

from xreasoner.evals.runner import Progress, evaluate
from xreasoner.evals.summary import Result
from xreasoner.files import sweep
from xreasoner.journal import Journal
from xreasoner.parallel import World, wait_for_all
from xreasoner.plan import Question
from xreasoner.recipe import Evaluation
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.choose import open_engine
from xreasoner.rollout.engine import Engine
from xreasoner.run import Manifest, read_manifest, set_aside
from xreasoner.train.progress import progress_on

SECONDS_BETWEEN_LINES = 30


class LazyEngine:
    """Loads the checkpoint with the first open question: a finished evaluation costs no model."""

    def __init__(self, checkpoint: Path, evaluation: Evaluation, device: torch.device) -> None:
        self._checkpoint, self._evaluation, self._device = checkpoint, evaluation, device
        self._engine: Engine | None = None

    @property
    def was_asked(self) -> bool:
        return self._engine is not None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        if self._engine is None:
            self._engine = open_engine(self._checkpoint, self._evaluation, self._device)
        yield from self._engine.generate(prompts, sampling)


def measure(
    name: str,
    checkpoint: Path,
    fingerprint: str,
    questions: Sequence[Question],
    evaluation: Evaluation,
    run_dir: Path,
    world: World,
    journal: Journal,
) -> None:
    """Fill `evals/<name>` with answers of the checkpoint of this fingerprint; ranks share the questions."""
    out = run_dir / "evals" / name
    if world.is_first:
        prepare_answers(out, fingerprint, questions, run_dir)
    wait_for_all(world)
    engine, began = LazyEngine(checkpoint, evaluation, world.device), time.monotonic()
    with Grader() as grader:
        for question in questions[world.rank :: world.size]:
            benchmark, instruction = question.benchmark, question.instruction
            show = shown_on(journal.console, f"{name}: {benchmark.name}")
            result = evaluate(engine, grader, benchmark, instruction, sampling_of(evaluation), out, show)
            journal.say(f"{name}: {in_words(result)}")
    wait_for_all(world)
    if world.is_first and engine.was_asked:
        manifest = read_manifest(out)
        assert manifest is not None
        seconds = manifest.seconds + time.monotonic() - began
        Manifest(manifest.made_from, "done", seconds).write(out)


def sampling_of(evaluation: Evaluation) -> Sampling:
    return Sampling(
        n=evaluation.samples,
        temperature=evaluation.temperature,
        think_budget=evaluation.think_budget,
        answer_budget=evaluation.answer_budget,
        forced_exit=evaluation.forced_exit,
        seed=evaluation.seed,
    )


def prepare_answers(out: Path, fingerprint: str, questions: Sequence[Question], run_dir: Path) -> None:
    """Nothing that another checkpoint answered, or that is not asked any more, stays in `out`."""
    wanted = Manifest({"checkpoint": fingerprint})
    found = read_manifest(out)
    if found is None or found.fingerprint != wanted.fingerprint:
        set_aside(out, run_dir)
        wanted.write(out)
    for folder in (out, out.parent / "pictures"):
        sweep(folder)
    names = {question.benchmark.name for question in questions}
    for path in sorted(out.glob("*.json*")):
        if path.name != "manifest.json" and path.stem not in names:
            set_aside(path, run_dir)


def shown_on(console: Console, title: str) -> Callable[[Progress], None]:
    """A bar where people watch; else a sign of life now and then. Silent for what was answered before."""
    display = progress_on(console)
    begun, last = False, time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal begun, last
        if not begun and progress.done < progress.total:
            display.begin(title, progress.total, progress.done)
            begun = True
        elif begun and (console.is_terminal or time.monotonic() - last > SECONDS_BETWEEN_LINES):
            display.step(
                progress.done, {"right": progress.accuracy, "forced": progress.forced / progress.done}
            )
            last = time.monotonic()
        if begun and progress.done == progress.total:
            display.end()

    return show


def in_words(result: Result) -> str:
    interval = f"{100 * result.accuracy:.1f}% [{100 * result.low:.0f}, {100 * result.high:.0f}]"
    shares = {"forced": result.forced, "missing": result.missing, "unscored": result.unscored}
    notes = [f"{100 * share:.0f}% {name}" for name, share in shares.items() if share]
    return ", ".join([f"{result.benchmark}: {interval} of {result.n}", *notes])
