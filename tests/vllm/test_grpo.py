"""GRPO learns as much from vLLM's rollouts, in process and from a server, as from the torch engine's."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.train.rollouts import settings

from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.step_display import NoDisplay


def learned(gambler: Path, arm: Problem, out: Path, **changes: Any) -> list[dict[str, float]]:
    sizes = {"steps": 20, "samples_per_prompt": 16, "prompts_per_step": 2, "lr": 3e-3, "eval_every": 20}
    train_grpo(settings(**sizes | changes), gambler, [arm], [arm], out, 0, NoDisplay())
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lora", [None, {"rank": 8}], ids=["full", "lora"])
def test_the_reward_is_that_of_the_torch_engine(
    gambler: Path, arms: list[Problem], server: ServerSettings, tmp_path: Path, lora: dict[str, int] | None
) -> None:
    reached = {}
    for engine in ("torch", "vllm", "server"):
        changes = {"lora": lora, "rollout": engine, "server": server if engine == "server" else None}
        lines = learned(gambler, arms[3], tmp_path / engine, **changes)
        rewards = [line["reward"] for line in lines if "reward" in line]
        held_out = [line["held_out"] for line in lines if "held_out" in line]
        assert rewards[0] < 0.5 and held_out[-1] == 1.0
        reached[engine] = sum(rewards[-5:]) / 5
        assert reached[engine] > 0.95
        # The trainer's log-probabilities of what was sampled are the sampler's, in every step.
        assert all(line["mismatch"] < 2e-3 for line in lines if "mismatch" in line)
    assert [reached["vllm"], reached["server"]] == pytest.approx([reached["torch"]] * 2, abs=0.05)


def test_it_learns_from_answers_that_the_server_samples_ahead(
    gambler: Path, arms: list[Problem], server: ServerSettings, tmp_path: Path
) -> None:
    changes = {"rollout": "server", "server": server, "max_lag": 1}
    lines = learned(gambler, arms[3], tmp_path / "ahead", **changes)
    steps = [line for line in lines if "reward" in line]
    assert [line["lag"] for line in steps] == [0] + [1] * 19
    # A step behind at a high learning rate, it gets there a little later.
    assert steps[0]["reward"] < 0.5 and sum(line["reward"] for line in steps[-5:]) / 5 > 0.8
    assert [line["held_out"] for line in lines if "held_out" in line][-1] == 1.0
    # One step behind, the sampler differs from the trainer; without lag, only by rounding.
    assert steps[0]["mismatch"] < 2e-3 < max(line["mismatch"] for line in steps)
