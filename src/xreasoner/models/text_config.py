"""The configuration of a vision-language model's text tower, as a text model of its own."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from xreasoner.models.families import SAME_ON_TEXT, Family

IMAGE_ROPE = ("mrope_section", "mrope_interleaved")
"""How image positions divide the rope's frequencies. On text all three positions are equal: plain rope."""

SHAPES_THE_COMPUTATION = (
    "model_type",
    "rope_parameters",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "hidden_act",
    "hidden_activation",
    "layer_types",
    "sliding_window",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
)


def derive_text_config(vlm: PreTrainedConfig, family: Family, path: Path) -> PreTrainedConfig:
    """The configuration with which `AutoModelForCausalLM` computes on text what the VLM computes."""
    tower = vlm.get_text_config()
    same = SAME_ON_TEXT.get(tower.model_type)
    config = _as_plain_text(tower, same) if same else deepcopy(tower)
    if config is vlm or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"{path}: the text tower of {vlm.model_type!r} is a {config.model_type!r}, and transformers "
            "has no causal language model of that type, so it cannot be detached"
        )
    for setting, off in family.ignored_by_vlm.items():
        setattr(config, setting, off)
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]]
    return config


def _as_plain_text(tower: PreTrainedConfig, model_type: str) -> PreTrainedConfig:
    known = AutoConfig.for_model(model_type).to_dict().keys() - {"model_type", "transformers_version"}
    fields = {key: value for key, value in tower.to_dict().items() if key in known}
    fields["rope_parameters"] = {k: v for k, v in tower.rope_parameters.items() if k not in IMAGE_ROPE}
    return AutoConfig.for_model(model_type, **fields)


def write_config(config: PreTrainedConfig, folder: Path) -> None:
    """Every value in full, under old and new names, so that no reader falls back to its own default."""
    of_any_model = PreTrainedConfig().to_dict()
    values = {key: value for key, value in config.to_dict().items() if value != of_any_model.get(key, ...)}
    values["transformers_version"] = of_any_model["transformers_version"]
    values["torch_dtype"] = values["dtype"]
    old = values | _rope_before_v5(values["rope_parameters"])
    if AutoConfig.for_model(**old).to_dict()["rope_parameters"] == values["rope_parameters"]:
        values = old  # configurations younger than the old names misread them
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n")


def _rope_before_v5(rope: dict[str, Any]) -> dict[str, Any]:
    # Readers that do not know `rope_parameters` would silently use a theta of 10000.
    everywhere = rope.get("full_attention", rope)
    scaling = {key: value for key, value in everywhere.items() if key != "rope_theta"}
    is_plain = scaling.get("rope_type") == "default"
    old = {"rope_theta": everywhere["rope_theta"], "rope_scaling": None if is_plain else scaling}
    if "sliding_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    return old


def check_same_computation(trained: PreTrainedConfig, detached: PreTrainedConfig, path: Path) -> None:
    """Graft copies weights, not settings, so a text model with other settings is refused."""
    for key in SHAPES_THE_COMPUTATION:
        found, wanted = getattr(trained, key, None), getattr(detached, key, None)
        if found != wanted:
            raise ValueError(
                f"{path} has {key} {found!r} where the vision-language model has {wanted!r}: "
                f"graft only what was trained from its detached model"
            )
