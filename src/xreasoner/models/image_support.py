"""Whether a checkpoint can be asked about images, from its files alone and without any model code."""

import json
from pathlib import Path

from xreasoner.models.config import has_vision, read_config
from xreasoner.models.families import FAMILIES

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def why_no_images(checkpoint: Path) -> str | None:
    """What it lacks; None if nothing."""
    if not has_vision(checkpoint):
        return "this model is text-only"
    model_type = str(read_config(checkpoint).get("model_type"))
    if model_type not in FAMILIES:
        return f"images of {model_type} models are not supported"
    if not any((checkpoint / name).is_file() for name in PROCESSOR_FILES):
        return f"it has no image processor ({PROCESSOR_FILES[0]})"
    placeholder = FAMILIES[model_type].placeholder
    if placeholder not in chat_template(checkpoint):
        return f"its chat template does not write {placeholder} for an image"
    return None


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
