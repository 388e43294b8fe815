"""Two processes: each has its own vLLM, or both use one server."""

from pathlib import Path

import pytest
from tests.test_ranks import RECIPE, run_here
from tests.train.processes import read_metrics, run_on_ranks, train_on
from tests.train.rollouts import settings

from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.step_display import NoDisplay

SIZES = {"steps": 6, "samples_per_prompt": 16, "prompts_per_step": 4, "lr": 3e-3, "eval_every": 6}


def test_two_processes_learn_what_one_does(
    gambler: Path, arms: list[Problem], server: ServerSettings, tmp_path: Path
) -> None:
    stages = {
        "vllm": settings(**SIZES, rollout="vllm"),
        "server": settings(**SIZES, rollout="server", server=server),
    }
    train_on(gambler, tmp_path, stages, arms, held_out=1)
    train_grpo(settings(**SIZES), gambler, arms, arms[:1], tmp_path / "torch", 0, NoDisplay())
    expected = read_metrics(tmp_path / "torch")
    for name in stages:
        found = read_metrics(tmp_path / name)
        assert len(found) == len(expected)
        learned = [line for line in found if "reward" in line]
        # With weights of the step before, the sampler would be far from the trainer.
        assert all(line["mismatch"] < 2e-3 for line in learned), name
        assert any(line["grad_norm"] > 0 for line in learned), name
        rewards = [line["reward"] for line in learned]
        assert rewards == pytest.approx([line["reward"] for line in expected if "reward" in line], abs=0.2)


def test_two_processes_share_a_benchmark(vlm: Path, tmp_path: Path) -> None:
    recipe, one, two = tmp_path / "ranks.yaml", tmp_path / "one", tmp_path / "two"
    recipe.write_text(RECIPE.format(base=vlm))
    run_here(recipe, one, "evaluation.engine=torch", "sft=null")
    run_on_ranks(run_here, 2, recipe, two, "evaluation.engine=vllm", "sft=null")
    asked = sorted(path.name for path in (one / "evals" / "base").glob("*.jsonl"))
    assert asked == ["bars-image.jsonl", "bars-text.jsonl", "sums-image.jsonl", "sums-text.jsonl"]
    for name in asked:
        assert (two / "evals" / "base" / name).read_bytes() == (one / "evals" / "base" / name).read_bytes()
