"""GRPO learns as much from vLLM's rollouts as from the torch engine's."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.rollouts import settings
from tests.train.test_sft import settings as sft_settings
from transformers import Qwen2Config, Qwen2ForCausalLM

from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.checkpoint import save_model
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.progress import Silent
from xreasoner.train.sft import train_sft


@pytest.fixture(scope="module")
def arms() -> list[Problem]:
    """One question, five answers, all equally likely to whom was taught them."""
    return [Problem(f"arm{i}", ("what ?",), str(i), "exact", reasoning="so then") for i in range(5)]


@pytest.fixture(scope="module")
def gambler(arms: list[Problem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that thinks briefly and answers 0 to 4 at random."""
    folder, tokenizer = tmp_path_factory.mktemp("gambler"), build_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.15,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    save_model(Qwen2ForCausalLM(config), tokenizer, folder / "start")
    train_sft(sft_settings(steps=60, tokens_per_step=80), folder / "start", arms, folder / "sft", 0, Silent())
    return folder / "sft" / "model"


def learned(gambler: Path, arm: Problem, out: Path, **changes: Any) -> list[dict[str, float]]:
    sizes = {"steps": 20, "samples_per_prompt": 16, "prompts_per_step": 2, "lr": 3e-3, "eval_every": 20}
    train_grpo(settings(**sizes | changes), gambler, [arm], [arm], out, 0, Silent())
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lora", [None, {"rank": 8}], ids=["full", "lora"])
def test_the_reward_is_that_of_the_torch_engine(
    gambler: Path, arms: list[Problem], tmp_path: Path, lora: dict[str, int] | None
) -> None:
    changes: dict[str, Any] = {"lora": lora, "lr": 3e-3}
    reached = {}
    for engine in ("torch", "vllm"):
        lines = learned(gambler, arms[3], tmp_path / engine, rollout=engine, **changes)
        rewards = [line["reward"] for line in lines if "reward" in line]
        held_out = [line["held_out"] for line in lines if "held_out" in line]
        assert rewards[0] < 0.5 and held_out[-1] == 1.0
        reached[engine] = sum(rewards[-5:]) / 5
        assert reached[engine] > 0.95
        # The trainer's log-probabilities of what was sampled are the sampler's, in every step.
        assert all(line["mismatch"] < 2e-3 for line in lines if "mismatch" in line)
    assert reached["vllm"] == pytest.approx(reached["torch"], abs=0.05)
