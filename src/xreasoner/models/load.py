"""Load a Hugging Face checkpoint, with or without a vision tower."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

# From its own module: under 5.17 the top-level name wants torchvision, which Pillow processors do not need.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils.logging import disable_progress_bar

from xreasoner.chat.image_tokens import FAMILY_IMAGES, FamilyImages
from xreasoner.models.config import has_vision
from xreasoner.models.families import placeholder_of
from xreasoner.models.image_support import PixelRange, known_placeholder

ImageProcessor = BaseImageProcessor | FamilyImages
"""Qwen's families need the bare processor only."""


@dataclass(frozen=True)
class Loaded:
    """A model with what it needs to read a prompt.

    `image_processor` is None for a text-only checkpoint, and for families of which only their own processor
    reads images."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    image_processor: ImageProcessor | None


def load(
    path: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    attention: str | None = None,
    pixels: PixelRange | None = None,
) -> Loaded:
    """Model in evaluation mode, tokenizer and image processor.

    Without `dtype`, in the precision it was saved in. Without `attention`, SDPA where it is supported.
    """
    disable_progress_bar()  # transformers' own, one per model
    architecture = AutoModelForImageTextToText if has_vision(path) else AutoModelForCausalLM
    model = architecture.from_pretrained(
        path, dtype=dtype or "auto", attn_implementation=attention, trust_remote_code=False
    )
    model.to(torch.device(device))  # type: ignore[arg-type]  # a wrapper hides `self` from the checker
    return Loaded(model, load_tokenizer(path), load_image_processor(path, pixels))


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    # AutoTokenizer picks the class by model type and would rebuild a custom vocabulary as Qwen's or Llama's.
    # A detached model has another model type but must split text as its VLM does, so the file decides.
    has_own_definition = (Path(path) / "tokenizer.json").is_file()
    opener = PreTrainedTokenizerFast if has_own_definition else AutoTokenizer
    tokenizer = opener.from_pretrained(path, trust_remote_code=False)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _processor_chat_template(Path(path))
    return tokenizer


def load_image_processor(path: Path, pixels: PixelRange | None = None) -> ImageProcessor | None:
    """The Pillow backend: it needs no torchvision, and pixels do not depend on torchvision's version."""
    if not has_vision(path):
        return None
    if known_placeholder(path) is None:
        return None
    size = {"size": pixels.size} if pixels else {}
    processor = AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=False, **size)
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if config.model_type not in FAMILY_IMAGES:
        return processor
    placeholder = placeholder_of(config.model_type, config.vision_config.model_type)
    assert placeholder is not None, config.model_type
    return FAMILY_IMAGES[config.model_type](processor, config, placeholder)


def _processor_chat_template(path: Path) -> str | None:
    """Older VLM checkpoints store the chat template with the processor, where tokenizers do not look."""
    template_file = path / "chat_template.json"
    return json.loads(template_file.read_text())["chat_template"] if template_file.is_file() else None
