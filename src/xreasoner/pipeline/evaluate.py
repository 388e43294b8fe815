"""Evaluate a checkpoint on every benchmark of a recipe, resuming what is there."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from xreasoner.data.hub import pinned_revisions
from xreasoner.data.prompt_length import longest_sequence
from xreasoner.disks.copy_files import copy_to_all
from xreasoner.evals.display import Show, shown, silent
from xreasoner.evals.runner import answer, conclude
from xreasoner.evals.shorter_budgets import answer_shorter
from xreasoner.evals.summary import SHARES, Result
from xreasoner.evals.task import ALONE, ASKED, BUDGET_FOLDER, Benchmark, RankShard, Task
from xreasoner.models.config import has_vision
from xreasoner.models.image_support import image_tokens, pixel_range
from xreasoner.models.load import load_tokenizer
from xreasoner.models.precision import compute_dtype
from xreasoner.models.tensor_files import parameters
from xreasoner.parallel import World, gather_shares, rejoining, wait_for_all
from xreasoner.pipeline.disks_of_a_run import agreed_answers, copy_answers_to_first, copy_if_made_here
from xreasoner.recipe.schema import BASE, Evaluation
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.choose import choose_to_evaluate, open_engine, slow_line
from xreasoner.rollout.engine import ClosableEngine, Engine, PartialRollout, resume_rollouts
from xreasoner.rollout.token_pieces import TokenPieces
from xreasoner.storage.checked_json import drop_damaged_lines, write_checked_json
from xreasoner.storage.environment import installed_versions
from xreasoner.storage.files import sweep, write_json
from xreasoner.storage.folders import discard
from xreasoner.storage.journal import Journal
from xreasoner.storage.run_folder import Manifest, first_difference, length_file, read_manifest, set_aside


class LazyEngine:
    """Loads the checkpoint at the first open question, so a finished evaluation loads no model."""

    def __init__(
        self, checkpoint: Path, evaluation: Evaluation, world: World, benchmarks: Sequence[Benchmark]
    ) -> None:
        self._checkpoint, self._evaluation, self._world = checkpoint, evaluation, world
        self._benchmarks = benchmarks
        self._engine: Engine | None = None

    @property
    def was_asked(self) -> bool:
        return self._engine is not None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        yield from self.open().generate(prompts, sampling)

    def resume(self, begun: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        yield from resume_rollouts(self.open(), begun, sampling)

    def open(self) -> Engine:
        if self._engine is None:
            longest = partial(longest_of, self._benchmarks, self._evaluation, self._checkpoint)
            images = asks_images(self._benchmarks)
            self._engine = open_engine(
                self._checkpoint, self._evaluation, self._world.device, longest, images
            )
        return self._engine

    def close(self) -> None:
        if isinstance(self._engine, ClosableEngine):
            with rejoining(self._world):
                self._engine.close()


def measure(
    name: str,
    checkpoint: Path,
    fingerprint: str,
    benchmarks: Sequence[Benchmark],
    evaluation: Evaluation,
    run_dir: Path,
    world: World,
    journal: Journal,
    make_usable: Callable[[bool], None] = lambda contents: None,
) -> None:
    """Fills `evals/<name>` with the checkpoint's answers; ranks share the problems.

    `make_usable` is called by the first rank: at first to compare the checkpoint's sizes, and before a model
    is loaded to compare its contents.
    """
    out = run_dir / "evals" / name
    agreed_answers(out, world)
    if world.is_first:
        make_usable(False)
        method = method_of(checkpoint, evaluation, world.device, asks_images(benchmarks))
        prepare_answers(out, fingerprint, method, conditions_of(world.device, run_dir), journal.say)
    copy_to_all(out, world)
    engine, began = LazyEngine(checkpoint, evaluation, world, benchmarks), time.monotonic()
    pieces = TokenPieces(load_tokenizer(checkpoint).decode) if keeps_logprobs(evaluation) else None
    tasks, shard = tasks_of(benchmarks, evaluation, out, pieces), RankShard(world.rank, world.size)
    if world.is_first:
        lengths = length_file(run_dir, "evals", name)
        lengths.parent.mkdir(parents=True, exist_ok=True)
        write_json(lengths, {task.benchmark.name: len(task.keys(ALONE)) for task in tasks})
    if anyone_asks(tasks, evaluation, shard, world):
        if world.is_first:
            make_usable(True)
            if slow := slow_line(evaluation.engine, checkpoint, world.device, asks_images(benchmarks)):
                journal.say(f"{name}: {slow}")
        copy_if_made_here(checkpoint, run_dir, world)
        if world.size > 1:
            engine.open()  # engines of several processes synchronise while opening
    with Grader() as grader:
        for task in tasks:
            title = f"{name}: {task.benchmark.name}"
            with display(title, evaluation, world, journal) as show:
                answer(task, engine, grader, show, shard, journal.say)
            for shorter in shorter_tasks(task, evaluation):
                within = f"{title} within {shorter.sampling.think_budget:,}"
                with display(within, evaluation, world, journal) as show:
                    answer_shorter(shorter, task, engine, grader, show, shard)
            if world.size == 1:
                conclude_all(task, evaluation, lambda line: journal.say(f"{name}: {line}"))
    copy_answers_to_first(out, world)
    wait_for_all(world)
    engine.close()
    for scorer in [one.scorer for one in benchmarks if one.scorer]:
        scorer.close()
    if world.is_first and world.size > 1:
        for task in tasks:
            conclude_all(task, evaluation, lambda line: journal.say(f"{name}: {line}"))
    if world.is_first and engine.was_asked:
        manifest = read_manifest(out)
        assert manifest is not None
        seconds = manifest.seconds + time.monotonic() - began
        replace(manifest, state="done", seconds=seconds).write(out)
    if world.keeps_a_copy:
        discard(out)


def longest_of(benchmarks: Sequence[Benchmark], evaluation: Evaluation, checkpoint: Path) -> int | None:
    """None if there are images of a family whose images have no known size."""
    tokens_per_image = 0
    if asks_images(benchmarks):
        pixels = pixel_range(checkpoint, evaluation.min_pixels, evaluation.max_pixels)
        if pixels is None:
            return None
        tokens_per_image = image_tokens(checkpoint, pixels.high)
    prompts = ((problem, one.instruction) for one in benchmarks for problem in one.problems)
    return longest_sequence(prompts, sampling_of(evaluation), load_tokenizer(checkpoint), tokens_per_image)


def anyone_asks(tasks: Sequence[Task], evaluation: Evaluation, shard: RankShard, world: World) -> bool:
    every = [one for task in tasks for one in (task, *shorter_tasks(task, evaluation))]
    return any(gather_shares([any(task.open_keys(shard) for task in every)], world))


def display(
    title: str, evaluation: Evaluation, world: World, journal: Journal
) -> AbstractContextManager[Show]:
    """Only the first rank shows progress: all shards take about the same time."""
    if not world.is_first:
        return nullcontext(silent)
    at_once = evaluation.server.concurrency if evaluation.server else evaluation.rows
    return shown(journal.console, title, at_once)


def conclude_all(task: Task, evaluation: Evaluation, say: Callable[[str], None]) -> None:
    say(in_words(conclude(task)))
    for shorter in shorter_tasks(task, evaluation):
        say(f"within {shorter.sampling.think_budget:,} tokens of thought: {in_words(conclude(shorter))}")


def shorter_tasks(task: Task, evaluation: Evaluation) -> list[Task]:
    """Only for benchmarks that need reasoning."""
    return [task.with_budget(budget) for budget in evaluation.budgets if task.benchmark.role == "skill"]


def keeps_logprobs(evaluation: Evaluation) -> bool:
    """A server returns no tokens."""
    return evaluation.logprobs and evaluation.server is None


def tasks_of(
    benchmarks: Sequence[Benchmark], evaluation: Evaluation, out: Path, pieces: TokenPieces | None = None
) -> list[Task]:
    sampling, pictures = sampling_of(evaluation), out.parent / "pictures"
    keeps_tokens = bool(evaluation.budgets)
    return [Task(one, sampling, out, pictures, keeps_tokens, pieces) for one in benchmarks]


def sampling_of(evaluation: Evaluation) -> Sampling:
    return Sampling(
        n=evaluation.samples,
        temperature=evaluation.temperature,
        think_budget=evaluation.think_budget,
        answer_budget=evaluation.answer_budget,
        forced_exit=evaluation.forced_exit,
        seed=evaluation.seed,
        exit_without_thought=evaluation.exit_without_thought,
    )


def prepare_answers(
    out: Path,
    fingerprint: str,
    method: Mapping[str, Any] | None = None,
    conditions: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """One folder holds the answers of one checkpoint, all generated in the same way."""
    wanted = Manifest({"checkpoint": fingerprint, **(method or {})}, execution=conditions or {})
    found = read_manifest(out)
    if found is not None and found.made_from["checkpoint"] != fingerprint:
        raise ValueError(
            f"{out}: these are the answers of another checkpoint; "
            "move the folder away, or choose another directory with --out"
        )
    changed = found and first_difference(
        {key: value for key, value in found.made_from.items() if key in wanted.made_from},
        {key: value for key, value in wanted.made_from.items() if key in found.made_from},
    )
    if found is None and any(out.glob("*.jsonl")):
        changed = "its manifest.json is missing"
    if changed:
        place = set_aside(out, out.parent.parent)
        say(f"{out.name}: {changed}, so it is evaluated anew; the other answers are in {place}")
    if found is None or changed:
        wanted.write(out)
    sweep_answers(out)
    for path in sorted(out.glob("**/*.jsonl")):
        if path.parent.name != "problems" and (dropped := drop_damaged_lines(path)):
            say(f"{path}: {dropped:,} damaged lines are dropped, and these questions asked again")


def asks_images(benchmarks: Sequence[Benchmark]) -> bool:
    return any(one.modality == "image" for one in benchmarks)


def method_of(
    checkpoint: Path, evaluation: Evaluation, device: torch.device, images: bool = True
) -> dict[str, Any]:
    """What may change answers though checkpoint and questions are the same."""
    if evaluation.server is not None:
        return {"engine": "server", "dtype": None, "attention": None, "pixels": None}
    engine = choose_to_evaluate(evaluation.engine, checkpoint, device, images)
    dtype = compute_dtype(evaluation.dtype, device, parameters(checkpoint))
    pixels = (
        pixel_range(checkpoint, evaluation.min_pixels, evaluation.max_pixels)
        if has_vision(checkpoint)
        else None
    )
    return {
        "engine": engine,
        "dtype": str(dtype).removeprefix("torch."),
        "attention": "sdpa"
        if engine in ("torch", "generate")
        else os.environ.get("VLLM_ATTENTION_BACKEND", "auto"),
        "pixels": list(pixels) if pixels else None,
    }


def conditions_of(device: torch.device, run_dir: Path) -> dict[str, Any]:
    """Recorded only: these change answers by rounding at most."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    return {
        "device": f"{device.type}: {name}",
        "versions": installed_versions(),
        "revisions": dict(pinned_revisions(run_dir)),
    }


def sweep_answers(out: Path) -> None:
    for folder in (out, *out.glob(f"{BUDGET_FOLDER}*"), *out.glob("**/problems"), out.parent / "pictures"):
        sweep(folder)


def write_asked(
    run_dir: Path, stages: Sequence[str], benchmarks: Sequence[Benchmark], evaluation: Evaluation
) -> None:
    """What the report shows. Answers to other benchmarks stay on disk, in case they are asked again."""
    content = {
        "stages": [BASE, *stages],
        "benchmarks": [one.name for one in benchmarks],
        "budgets": list(evaluation.budgets),
    }
    write_checked_json(run_dir / "evals" / ASKED, content)


def in_words(result: Result) -> str:
    interval = f"{100 * result.accuracy:.1f}% [{100 * result.low:.0f}, {100 * result.high:.0f}]"
    notes = [f"{100 * share:.0f}% {name}" for name in SHARES if (share := getattr(result, name))]
    return ", ".join([f"{result.benchmark}: {interval} of {result.n}", *notes])
