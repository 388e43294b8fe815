"""Tiny random vision-language models of every family and text tower that surgery knows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.models.kinds import FURTHER, KINDS, VOCABULARY
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)


def build_vlm(kind: str) -> PreTrainedModel:
    config = {**KINDS, **FURTHER}[kind]()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms, biases and zero-initialised projections too: every tensor must matter and differ.
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def build_tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{i}": i for i in range(VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="w3"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="w2", pad_token="w0", unk_token="w3"
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} w2 {% endfor %}"
    return tokenizer


def save_vlm(
    kind: str, folder: Path, *, max_shard_size: str = "5GB", dtype: torch.dtype | None = None
) -> Path:
    model = build_vlm(kind).to(dtype or torch.float32)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    build_tokenizer().save_pretrained(folder)
    config_file = folder / "tokenizer_config.json"
    tokenizer_config = json.loads(config_file.read_text()) | {"processor_class": "Qwen2_5_VLProcessor"}
    config_file.write_text(json.dumps(tokenizer_config))
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')
    GenerationConfig(temperature=0.6, do_sample=True, eos_token_id=[2, 5]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=list(KINDS))
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 checkpoint in one file, of each kind in turn. Read only."""
    return save_vlm(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def new_vlm(tmp_path: Path) -> Callable[..., Path]:
    """Saves a checkpoint of the kind asked for, in a folder the test may change."""
    return lambda kind, **how: save_vlm(kind, tmp_path / "vlm", **how)


@pytest.fixture(scope="session", name="text_BT")
def random_text() -> Tensor:
    """Longer than Gemma's tiny attention window and Ministral's tiny first context; no image tokens."""
    return torch.randint(3, 59, (3, 40), generator=torch.Generator().manual_seed(7))
