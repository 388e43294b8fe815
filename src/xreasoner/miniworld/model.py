"""The model of the mini-world: the classes of Qwen2.5-VL, a thousand times smaller."""

from dataclasses import dataclass
from pathlib import Path
from shutil import copymode

import torch
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.miniworld.scene import CELL
from xreasoner.miniworld.tokenizer import (
    IMAGE_PAD,
    TURN_END,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    build_tokenizer,
)


@dataclass(frozen=True)
class Size:
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 384
    vision_hidden: int = 128
    vision_layers: int = 3
    vision_heads: int = 4
    rope_sections: tuple[int, int, int] = (0, 1, 15)
    """Time, height, width. Width gets nearly all frequencies, so an image row has positions like text."""
    rope_theta: float = 100.0
    """Neighbours differ at most frequencies; problems have at most a few hundred words."""
    initial_spread: float = 0.08
    """About 1/sqrt(width). The usual 0.02 suits widths of thousands; here it slows learning."""


def build_config(size: Size) -> Qwen2_5_VLConfig:
    tokenizer = build_tokenizer()

    def mark(token: str) -> int:
        return tokenizer.get_vocab()[token]

    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden,
            "intermediate_size": size.mlp,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "max_position_embeddings": 1024,
            "initializer_range": size.initial_spread,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": size.rope_theta,
                "mrope_section": list(size.rope_sections),
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": mark(TURN_END),
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "intermediate_size": 2 * size.vision_hidden,
            "num_heads": size.vision_heads,
            "out_hidden_size": size.hidden,
            "window_size": CELL,
            "fullatt_block_indexes": list(range(size.vision_layers)),
        },
        image_token_id=mark(IMAGE_PAD),
        video_token_id=mark(VIDEO_PAD),
        vision_start_token_id=mark(VISION_START),
        vision_end_token_id=mark(VISION_END),
        tie_word_embeddings=True,
    )


def build_image_processor() -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(size={"shortest_edge": CELL * CELL, "longest_edge": CELL * CELL * 256})


def new_model(size: Size, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(build_config(size))


def new_base(
    seed: int, size: Size | None = None
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerFast, Qwen2VLImageProcessorPil]:
    """An untrained model with its tokenizer and image processor."""
    return new_model(size or Size(), seed), build_tokenizer(), build_image_processor()


def save_base(model: Qwen2_5_VLForConditionalGeneration, out: Path) -> None:
    """Save a complete Hugging Face checkpoint: weights, configs, tokenizer, template, image processor."""
    tokenizer = build_tokenizer()
    model.generation_config.update(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(out)
    # safetensors lets only the owner read what it writes.
    copymode(out / "config.json", out / "model.safetensors")
    tokenizer.save_pretrained(out)
    build_image_processor().save_pretrained(out)
