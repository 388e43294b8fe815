"""NaN and infinity, wherever they come from, stop a stage before the optimizer and name the place."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.conftest import *  # noqa: F403  # the small model and its problems
from tests.train.rollouts import settings as grpo_settings
from tests.train.test_sft import settings, weights

from xreasoner.records import Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import sft
from xreasoner.train.grpo import train_grpo
from xreasoner.train.sft import accumulate, train_sft
from xreasoner.train.step_display import NoDisplay


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights(start: Path, problems: list[Problem], tmp_path: Path, value: float) -> None:
    file = start / "model.safetensors"
    held = load_file(file)
    held["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(held, file, metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"start: the weights model\.layers\.1\.mlp\.up_proj\.weight are not"
    ):
        train_sft(settings(), start, problems, tmp_path / "out", 0, NoDisplay())


def spoilt_in_steps(steps: set[int], value: float):
    """The gradient of one weight, in these steps."""
    count = iter(range(100))

    def spoilt(policy, *others):
        loss = accumulate(policy, *others)
        if next(count) in steps:
            policy.lm.model.layers[0].mlp.up_proj.weight.grad[0, 0] = value
        return loss

    return spoilt


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_gradients(
    start: Path, problems: list[Problem], tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "accumulate", spoilt_in_steps({2}, value))
    place = r"step 2: .* gradient of lm\.model\.layers\.0\.mlp\.up_proj\.weight is not finite"
    with pytest.raises(ValueError, match=place):
        train_sft(settings(), start, problems, tmp_path / "out", 0, NoDisplay())


def test_skipped_steps_change_no_weight_and_are_null_in_the_metrics(
    start: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "accumulate", spoilt_in_steps({0, 1, 2, 3}, math.nan))
    chosen = settings(steps=4, non_finite_steps=4)
    train_sft(chosen, start, problems, tmp_path / "out", 0, NoDisplay())
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["grad_norm"] for line in lines] == [None] * 4
    before, after = weights(start), weights(tmp_path / "out" / "model")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_skipped_steps_are_counted_through_a_resume(
    start: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 2 and 3 are skipped, then the run ends. After the resume, step 4 is the third in a row."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    chosen = settings(steps=6, non_finite_steps=2, checkpoint_every=4)
    monkeypatch.setattr(sft, "accumulate", spoilt_in_steps({2, 3}, math.nan))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sft.TrainingStates, "end_if_interrupted", lambda *given: given[1] == 4 and stopped())
        train_sft(chosen, start, problems, tmp_path / "out", 0, NoDisplay())
    monkeypatch.setattr(sft, "accumulate", spoilt_in_steps({0}, math.nan))
    with pytest.raises(
        ValueError, match=r"step 4: .* Not taken, 3 in a row: the weights are those before it"
    ):
        train_sft(chosen, start, problems, tmp_path / "out", 0, NoDisplay())


def test_log_probabilities(
    gambler: Path, arms: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = TorchEngine.generate

    def spoilt(self, prompts, sampling) -> Iterator:
        for rollout in generate(self, prompts, sampling):
            yield replace(rollout, logprobs=(math.nan, *rollout.logprobs[1:]))

    monkeypatch.setattr(TorchEngine, "generate", spoilt)
    with pytest.raises(ValueError, match=r"training prompt \d+:arm\d: the engine returned a log-probability"):
        train_grpo(grpo_settings(eval_every=0), gambler, arms, [], tmp_path / "out", 0, NoDisplay())
