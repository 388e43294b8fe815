"""Tiny random vision-language models of every family and text tower that surgery knows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

VOCABULARY = 64
IMAGE_TOKEN = 60
MARKS = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": 61,
    "vision_start_token_id": 62,
    "vision_end_token_id": 63,
}


def text(model_type: str, **extra: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "rms_norm_eps": 3e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 777.0},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return common | extra


def vision(model_type: str, **extra: Any) -> dict[str, Any]:
    common = {
        "model_type": model_type,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
    }
    return common | extra


def qwen_vision(model_type: str, **extra: Any) -> dict[str, Any]:
    common = {"model_type": model_type, "depth": 2, "num_heads": 2, "patch_size": 4}
    return common | extra


def sectioned_rope(**extra: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 1, 1]} | extra


def qwen2_vl(**extra: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2_vl",
        "text_config": text("qwen2_vl_text", rope_parameters=sectioned_rope()),
        "vision_config": qwen_vision("qwen2_vl_vision", embed_dim=16, hidden_size=32, mlp_ratio=2),
        **MARKS,
        **extra,
    }


def qwen2_5_vl(**extra: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_vl",
        "text_config": text("qwen2_5_vl_text", rope_parameters=sectioned_rope()),
        "vision_config": qwen_vision(
            "qwen2_5_vl_vision",
            hidden_size=16,
            intermediate_size=24,
            out_hidden_size=32,
            window_size=16,
            fullatt_block_indexes=[1],
        ),
        **MARKS,
        **extra,
    }


def qwen3_vl(**extra: Any) -> dict[str, Any]:
    rope = sectioned_rope(mrope_interleaved=True)
    return {
        "model_type": "qwen3_vl",
        "text_config": text("qwen3_vl_text", rope_parameters=rope),
        "vision_config": qwen_vision(
            "qwen3_vl_vision",
            hidden_size=16,
            intermediate_size=24,
            out_hidden_size=32,
            num_position_embeddings=16,
            deepstack_visual_indexes=[0, 1],
        ),
        **MARKS,
        **extra,
    }


def with_tower(model_type: str, tower: dict[str, Any], sight: dict[str, Any], **extra: Any) -> dict[str, Any]:
    base = {"model_type": model_type, "text_config": tower, "vision_config": sight}
    return base | {"image_token_id": IMAGE_TOKEN} | extra


def llava(tower: str, **extra: Any) -> dict[str, Any]:
    return with_tower("llava", text(tower, **extra), vision("clip_vision_model"), image_seq_length=16)


def internvl(tower: str, tied: bool) -> dict[str, Any]:
    sight = vision("internvl_vision", image_size=[16, 16], patch_size=[4, 4])
    return with_tower("internvl", text(tower), sight, image_seq_length=4, tie_word_embeddings=tied)


def gemma3() -> dict[str, Any]:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 777.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 99.0},
    }
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    tower = text(
        "gemma3_text", rope_parameters=rope, layer_types=kinds, sliding_window=4, query_pre_attn_scalar=8
    )
    return with_tower("gemma3", tower, vision("siglip_vision_model"), mm_tokens_per_image=4)


def idefics(model_type: str, tied: bool) -> dict[str, Any]:
    sight = vision(f"{model_type}_vision")
    return with_tower(model_type, text("llama"), sight, scale_factor=2, tie_word_embeddings=tied)


def mistral3(tower: str) -> dict[str, Any]:
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 777.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
        "llama_4_scaling_beta": 0.1,
    }
    rope = {"rope_parameters": yarn} if tower == "ministral3" else {}
    sight = vision("pixtral", head_dim=8)
    return with_tower("mistral3", text(tower, **rope), sight, spatial_merge_size=2, tie_word_embeddings=False)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_vl-tied": lambda: qwen2_vl(tie_word_embeddings=True),
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_5_vl-tied": lambda: qwen2_5_vl(tie_word_embeddings=True),
    "qwen3_vl": qwen3_vl,
    "qwen3_vl-tied": lambda: qwen3_vl(tie_word_embeddings=True),
    "llava-llama": lambda: llava("llama"),
    "llava-qwen2-tied": lambda: llava("qwen2", tie_word_embeddings=True),
    "llava-mistral": lambda: llava("mistral"),
    "internvl-qwen2": lambda: internvl("qwen2", tied=False),
    "internvl-qwen3-tied": lambda: internvl("qwen3", tied=True),
    "internvl-llama": lambda: internvl("llama", tied=False),
    "gemma3": gemma3,
    "smolvlm": lambda: idefics("smolvlm", tied=False),
    "smolvlm-tied": lambda: idefics("smolvlm", tied=True),
    "idefics3": lambda: idefics("idefics3", tied=False),
    "mistral3-mistral": lambda: mistral3("mistral"),
    "mistral3-ministral3": lambda: mistral3("ministral3"),
}


def build_vlm(kind: str) -> PreTrainedModel:
    config = KINDS[kind]()
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


@pytest.fixture
def kinds() -> list[dict[str, Any]]:
    return [settings() for settings in KINDS.values()]
