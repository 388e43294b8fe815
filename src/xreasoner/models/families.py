"""What vision-language checkpoints and their code in transformers do not show, by family.

Where a checkpoint holds the text tower is found in it (`find_tower.py`), in families without an entry too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Family:
    name: str
    placeholder: str | None = "<|image_pad|>"
    """What the chat template writes for an image. None: only the family's own processor reads its images."""
    ignored_by_vlm: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Text settings that the vision-language class does not read, and the values that compute its own."""
    carries_state: bool = False
    """Its layers carry a state from token to token, which our engine does not keep."""
    scale_left_out: str | None = None
    """A factor of the text model's logits that the vision-language class of transformers leaves out. The text
    model keeps it: the weights were trained with it, and greedy text is the same."""


FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family("Qwen2-VL"),
    "qwen2_5_vl": Family("Qwen2.5-VL"),
    "qwen3_vl": Family("Qwen3-VL (dense)"),
    "llava": Family("LLaVA", "<image>"),
    "internvl": Family("InternVL (HF)", "<IMG_CONTEXT>"),
    "gemma3": Family(
        "Gemma 3", "<start_of_image>", ignored_by_vlm=MappingProxyType({"final_logit_softcapping": None})
    ),
    "llava_next": Family("LLaVA-NeXT", "<image>"),
    "llava_onevision": Family("LLaVA-OneVision", "<image>"),
    "aya_vision": Family("Aya Vision", "<image>", scale_left_out="logit_scale"),
    "cohere2_vision": Family("Command A Vision", None, scale_left_out="logit_scale"),
    "ovis2": Family("Ovis2", "<image>"),
    "glm4v": Family("GLM-4.1V", "<|image|>"),
    "qwen3_5": Family("Qwen3.5", carries_state=True),
    "qwen3_5_moe": Family("Qwen3.5-MoE", carries_state=True),
    "qwen3_vl_moe": Family("Qwen3-VL-MoE", ignored_by_vlm=MappingProxyType({"norm_topk_prob": True})),
    "qwen4_exp": Family("Qwen4-exp", carries_state=True),
    "smolvlm": Family("SmolVLM", "<image>"),
    "idefics3": Family("Idefics3", "<image>"),
    "mistral3": Family("Mistral 3", "[IMG]"),
}

SAME_ON_TEXT = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "glm4v_text": "glm4",
    "glm4v_moe_text": "glm4_moe",
}
"""Text classes with positions on three axes are no language models of their own: those that compute the same
where all three are equal."""


def find_family(model_type: str) -> Family:
    return FAMILIES.get(model_type, Family(model_type, None))


def placeholder_of(model_type: str, vision_type: str | None) -> str | None:
    """Pixtral comes as a LLaVA whose template is Mistral's."""
    return "[IMG]" if vision_type == "pixtral" else find_family(model_type).placeholder
