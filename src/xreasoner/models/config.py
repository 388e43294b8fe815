"""A checkpoint's config.json, read without any model code."""

import json
from pathlib import Path
from typing import Any


def read_config(checkpoint: Path) -> dict[str, Any]:
    config_file = Path(checkpoint) / "config.json"
    if not config_file.is_file():
        raise ValueError(f"{checkpoint} is not a Hugging Face checkpoint: it has no config.json")
    return json.loads(config_file.read_text(encoding="utf-8"))


def has_vision(checkpoint: Path) -> bool:
    return "vision_config" in read_config(checkpoint)


def context_length(checkpoint: Path) -> int | None:
    """The most tokens of a sequence; None if the configuration does not say."""
    config = read_config(checkpoint)
    found = (config.get("text_config") or config).get("max_position_embeddings")
    return found if isinstance(found, int) else None
