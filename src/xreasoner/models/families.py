"""The vision-language families whose text tower is a plain causal language model, and where it is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Layout:
    """How a checkpoint names its text tower: `body` stands where a text model has `model.`."""

    body: str
    head: str = "lm_head.weight"

    @property
    def embeddings(self) -> str:
        return f"{self.body}embed_tokens.weight"


@dataclass(frozen=True)
class Family:
    name: str
    towers: tuple[str, ...]
    """Model types of the text towers it may hold."""
    layouts: tuple[Layout, ...]
    own_text_class: bool = False
    """It has its own text class (sectioned rope), which computes on text what `towers[0]` computes."""
    placeholder: str = "<|image_pad|>"
    """What the chat template writes for an image."""
    ignored_by_vlm: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Text settings that the vision-language model never applies, and the value that switches them off."""


_SINCE_2025 = Layout("model.language_model.")
_QWEN_RELEASES = Layout("model.")
_LLAVA_RELEASES = Layout("language_model.model.", "language_model.lm_head.weight")
_IDEFICS = Layout("model.text_model.")

FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family("Qwen2-VL", ("qwen2",), (_SINCE_2025, _QWEN_RELEASES), own_text_class=True),
    "qwen2_5_vl": Family("Qwen2.5-VL", ("qwen2",), (_SINCE_2025, _QWEN_RELEASES), own_text_class=True),
    "qwen3_vl": Family("Qwen3-VL (dense)", ("qwen3",), (_SINCE_2025,), own_text_class=True),
    "llava": Family(
        "LLaVA", ("llama", "qwen2", "mistral"), (_SINCE_2025, _LLAVA_RELEASES), placeholder="<image>"
    ),
    "internvl": Family(
        "InternVL (HF)",
        ("qwen2", "qwen3", "llama"),
        (_SINCE_2025, _LLAVA_RELEASES),
        placeholder="<IMG_CONTEXT>",
    ),
    "gemma3": Family(
        "Gemma 3",
        ("gemma3_text",),
        (_SINCE_2025, _LLAVA_RELEASES),
        placeholder="<start_of_image>",
        ignored_by_vlm=MappingProxyType({"final_logit_softcapping": None}),
    ),
    "smolvlm": Family("SmolVLM", ("llama",), (_IDEFICS,), placeholder="<image>"),
    "idefics3": Family("Idefics3", ("llama",), (_IDEFICS,), placeholder="<image>"),
    "mistral3": Family(
        "Mistral 3", ("mistral", "ministral3"), (_SINCE_2025, _LLAVA_RELEASES), placeholder="[IMG]"
    ),
}


def find_family(model_type: str) -> Family:
    if model_type not in FAMILIES:
        known = ", ".join(f"{family.name} ({key})" for key, family in FAMILIES.items())
        raise ValueError(f"cannot take the text tower out of a {model_type!r} model; supported: {known}")
    return FAMILIES[model_type]


def find_layout(family: Family, names: Collection[str]) -> Layout:
    """Releases and later saves of one model name their tensors differently, so the names found decide."""
    for layout in family.layouts:
        if layout.embeddings in names:
            return layout
    wanted = " nor ".join(layout.embeddings for layout in family.layouts)
    raise ValueError(f"not a complete {family.name} checkpoint: it holds no tensor {wanted}")


def text_names(layout: Layout, names: Collection[str]) -> dict[str, str]:
    """The text tower's tensors: their name in the vision-language model, and in the text model."""
    renamed = {name: _text_name(layout, name) for name in names if name.startswith(layout.body)}
    if layout.head in names:
        renamed[layout.head] = "lm_head.weight"
    # Old versions of transformers saved these buffers, newer ones recompute them: left where they are.
    return {name: text for name, text in renamed.items() if not text.endswith("rotary_emb.inv_freq")}


def _text_name(layout: Layout, name: str) -> str:
    return "model." + name.removeprefix(layout.body)
