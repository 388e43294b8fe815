"""Training that is killed and resumed ends with the weights of the unbroken run, to the last bit."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from benchmarks.gpu.models import end_after, random_lm, tokenizer_of
from benchmarks.gpu.stages import grpo_stage, sft_stage
from benchmarks.gpu.suite import Line, Machine, Precision, at_least

from xreasoner.models.checkpoint import save_model
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

PROBLEMS = [
    Problem(f"p{i}", (f"w{i} w{2 * i}",), f"{i}", "exact", reasoning="w7 " * (5 + i)) for i in range(40)
]
LENGTH_REWARD = "def shortness(problem, reply):\n    return 1 - reply.tokens / reply.limit\n"
KILLED_AFTER, STEPS = 3, 6
Train = Callable[[Path, NoDisplay], None]


class KilledError(Exception):
    pass


class KillingDisplay(NoDisplay):
    def step(self, done: int, shown: Mapping[str, float]) -> None:
        if done == KILLED_AFTER:
            raise KilledError


def kill_and_resume_sft(precision: Precision, machine: Machine) -> Iterator[Line]:
    """States are saved every second step, and the third is the last one before the kill."""
    stage = sft_stage(
        dtype=precision,
        steps=STEPS,
        tokens_per_step=400,
        tokens_per_microbatch=256,
        checkpoint_every=2,
        lr=1e-3,
    )
    with tempfile.TemporaryDirectory() as folder:
        start = saved_start(Path(folder), machine)
        yield same_weights(
            Path(folder), lambda out, display: train_sft(stage, start, PROBLEMS, out, 3, display)
        )


def kill_and_resume_grpo(precision: Precision, machine: Machine) -> Iterator[Line]:
    """Rewarded for being short, because a random model is never right."""
    with tempfile.TemporaryDirectory() as folder:
        start, reward = saved_start(Path(folder), machine), Path(folder) / "reward.py"
        reward.write_text(LENGTH_REWARD)
        stage = grpo_stage(
            dtype=precision,
            steps=STEPS,
            prompts_per_step=4,
            samples_per_prompt=4,
            lr=1e-4,
            think_budget=16,
            answer_budget=8,
            checkpoint_every=2,
            rollout="torch",
            rewards=[{"function": f"{reward}:shortness", "weight": 1.0}],
        )
        yield same_weights(
            Path(folder), lambda out, display: train_grpo(stage, start, PROBLEMS, [], out, 3, display)
        )


def saved_start(folder: Path, machine: Machine) -> Path:
    lm = random_lm("small", machine, torch.float32)
    tokenizer = tokenizer_of(lm.config.vocab_size)
    end_after(lm, tokenizer, 12)
    save_model(lm, tokenizer, folder / "start")
    return folder / "start"


def same_weights(folder: Path, train: Train) -> Line:
    train(folder / "whole", NoDisplay())
    try:
        train(folder / "broken", KillingDisplay())
    except KilledError:
        train(folder / "broken", NoDisplay())
    start, whole, broken = (
        (folder / run / "model.safetensors").read_bytes() for run in ("start", "whole/model", "broken/model")
    )
    return at_least("learned, and weights equal to the last bit", float(start != whole == broken), 1)
