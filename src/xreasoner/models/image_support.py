"""Whether a checkpoint can be asked about images, from its files alone and without any model code."""

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from xreasoner.models.config import has_vision, read_config
from xreasoner.models.families import find_family, placeholder_of

QWEN = "<|image_pad|>"
"""The families that take images of any size within a range of pixels."""
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def why_no_images(checkpoint: Path) -> str | None:
    """What it lacks; None if nothing."""
    if not has_vision(checkpoint):
        return "this model is text-only"
    if not any((checkpoint / name).is_file() for name in PROCESSOR_FILES):
        return f"it has no image processor ({PROCESSOR_FILES[0]})"
    placeholder = known_placeholder(checkpoint)
    if placeholder and placeholder not in chat_template(checkpoint):
        return f"its chat template does not write {placeholder} for an image"
    return None


def known_placeholder(checkpoint: Path) -> str | None:
    """None: its own processor has to read its images."""
    return _placeholder(read_config(checkpoint))


def _placeholder(config: Mapping[str, Any]) -> str | None:
    return placeholder_of(str(config.get("model_type")), config["vision_config"].get("model_type"))


def needs_generate(config: Mapping[str, Any]) -> bool:
    """Whether our engine certainly cannot answer about the images of a model with this `config.json`."""
    family = find_family(str(config.get("model_type")))
    return "vision_config" in config and (_placeholder(config) is None or family.carries_state)


def reads_videos(checkpoint: Path) -> bool:
    """Whether `AutoProcessor` of this model opens a video processor, which takes torchvision in every family.

    Nothing in the checkpoint's files prevents that. The image processors themselves fall back to Pillow."""
    from transformers.models.auto import processing_auto as auto

    names: Any = vars(auto)["PROCESSOR_MAPPING_NAMES"]
    name = names.get(str(read_config(checkpoint).get("model_type")))
    processor: Any = auto.processor_class_from_name(name) if name else None
    return processor is not None and "video_processor" in signature(processor).parameters


def chat_template(checkpoint: Path) -> str:
    """From the file of its own, or from the tokenizer's or the processor's; empty if there is none."""
    own = checkpoint / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json", "processor_config.json"):
        if (checkpoint / name).is_file():
            found = json.loads((checkpoint / name).read_text(encoding="utf-8")).get("chat_template")
            if found:
                return json.dumps(found, ensure_ascii=False)  # a template, or several by name
    return ""


class PixelRange(NamedTuple):
    """Images are scaled to have at least `low` and at most `high` pixels."""

    low: int
    high: int

    @property
    def size(self) -> dict[str, int]:
        """As Qwen's image processors call it."""
        return {"shortest_edge": self.low, "longest_edge": self.high}


def pixel_range(checkpoint: Path, low: int | None = None, high: int | None = None) -> PixelRange | None:
    """The checkpoint's own limits, where `low` and `high` do not replace them; None for other families."""
    model_type = str(read_config(checkpoint).get("model_type"))
    if find_family(model_type).placeholder != QWEN:
        if low or high:
            raise ValueError(
                f"{checkpoint}: min_pixels and max_pixels are for Qwen-VL models, not {model_type}"
            )
        return None
    settings = processor_settings(checkpoint)
    size = settings.get("size") or {}
    own_low = settings.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels") or 56 * 56
    own_high = (
        settings.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels") or 28 * 28 * 1280
    )
    found = PixelRange(low or min(own_low, high or own_low), high or max(own_high, low or own_high))
    if found.low > found.high:
        raise ValueError(f"min_pixels {found.low:,} is above max_pixels {found.high:,}")
    return found


def image_tokens(checkpoint: Path, pixels: int) -> int:
    """The most that an image of so many pixels takes."""
    settings = processor_settings(checkpoint)
    side = int(settings.get("patch_size", 14)) * int(settings.get("merge_size", 2))
    return pixels // side**2


def processor_settings(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / PROCESSOR_FILES[0]
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
