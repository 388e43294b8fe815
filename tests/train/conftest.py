"""A language model small enough to train in a test, and problems for it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_sft import settings
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.checkpoint import save_model
from xreasoner.records import Problem
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

# The extra dev has it; where an older environment lacks it, nothing is collected.
collect_ignore = [] if find_spec("bitsandbytes") else ["test_quantized.py"]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


@pytest.fixture(scope="session")
def new_lm(tokenizer: PreTrainedTokenizerBase) -> Callable[..., PreTrainedModel]:
    def build(seed: int = 0, **changes: Any) -> PreTrainedModel:
        torch.manual_seed(seed)
        settings = {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "initializer_range": 0.2,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        return Qwen2ForCausalLM(Qwen2Config(**{**settings, **changes}))

    return build


@pytest.fixture
def start(tmp_path: Path, new_lm: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> Path:
    save_model(new_lm(), tokenizer, tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def problems() -> list[Problem]:
    def sums(i: int) -> Problem:
        a, b = i % 7, i % 5
        thought = " then ".join(f"{a} + {b} = {a + b}" for _ in range(1 + i % 4))
        return Problem(f"p{i}", (f"{a} + {b} = ?",), str(a + b), "exact", reasoning=thought)

    return [sums(i) for i in range(40)]


@pytest.fixture(scope="session")
def arms() -> list[Problem]:
    """One question, five answers, all equally likely to whom was taught them."""
    return [Problem(f"arm{i}", ("what ?",), str(i), "exact", reasoning="so then") for i in range(5)]


@pytest.fixture(scope="session")
def gambler(
    new_lm: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    arms: list[Problem],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model that thinks briefly and answers 0 to 4 at random. Read only."""
    start, out = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("gambler")
    save_model(new_lm(), tokenizer, start)
    train_sft(settings(steps=60, tokens_per_step=80), start, arms, out, 0, NoDisplay())
    return out / "model"
