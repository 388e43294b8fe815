"""Checkpoints as they are published: older names, older settings, tied and untied heads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from xreasoner.models.surgery import detach, graft

NewVlm = Callable[..., Path]


@torch.no_grad()
def logits_of(model_class: type, checkpoint: Path, text_BT: Tensor) -> Tensor:
    return model_class.from_pretrained(checkpoint, dtype="auto")(input_ids=text_BT).logits


def rewrite(checkpoint: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = checkpoint / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def rewrite_json(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def assert_there_and_back(vlm: Path, text_BT: Tensor, tmp_path: Path) -> None:
    detach(vlm, tmp_path / "lm")
    detached = logits_of(AutoModelForCausalLM, tmp_path / "lm", text_BT)
    assert torch.equal(detached, logits_of(AutoModelForImageTextToText, vlm, text_BT))
    graft(vlm, tmp_path / "lm", tmp_path / "back")
    file = "model.safetensors"
    assert (tmp_path / "back" / file).read_bytes() == (vlm / file).read_bytes()


QWEN_TODAY = (("visual.", "model.visual."), ("model.", "model.language_model."))
LLAVA_TODAY = (
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
)


@pytest.mark.parametrize(
    ("kind", "renames"),
    [
        ("qwen2_vl", QWEN_TODAY),
        ("qwen2_5_vl-tied", QWEN_TODAY),
        ("llava-llama", LLAVA_TODAY),
        ("internvl-qwen2", LLAVA_TODAY),
        ("gemma3", LLAVA_TODAY),
        ("mistral3-mistral", LLAVA_TODAY),
    ],
)
def test_the_names_of_newer_saves(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path, kind: str, renames: tuple[tuple[str, str], ...]
) -> None:
    vlm = new_vlm(kind)

    def today(name: str) -> str:
        for old, new in renames:
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    before = logits_of(AutoModelForImageTextToText, vlm, text_BT)
    rewrite(vlm, lambda tensors: {today(name): tensor for name, tensor in tensors.items()})
    assert "model.language_model.embed_tokens.weight" in load_file(vlm / "model.safetensors")
    assert torch.equal(logits_of(AutoModelForImageTextToText, vlm, text_BT), before)
    assert_there_and_back(vlm, text_BT, tmp_path)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_the_flat_settings_of_the_qwen_releases(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path, kind: str
) -> None:
    vlm = new_vlm(kind)
    before = logits_of(AutoModelForImageTextToText, vlm, text_BT)

    def as_released(config: dict[str, Any]) -> dict[str, Any]:
        text, vision = config.pop("text_config"), config.pop("vision_config")
        rope = text.pop("rope_parameters")
        for modern in ("model_type", "layer_types", "dtype", "pad_token_id"):
            text.pop(modern, None)
        vision.pop("model_type")
        old = {
            "rope_theta": rope["rope_theta"],
            "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
            "sliding_window": 8,
            "use_sliding_window": False,
            "torch_dtype": config.pop("dtype"),
            "vision_config": vision,
        }
        return config | text | old

    rewrite_json(vlm / "config.json", as_released)
    assert torch.equal(logits_of(AutoModelForImageTextToText, vlm, text_BT), before)
    assert_there_and_back(vlm, text_BT, tmp_path)


@pytest.mark.parametrize(
    ("kind", "sections"), [("qwen2_5_vl", {}), ("qwen3_vl", {"mrope_interleaved": True})]
)
def test_a_stretched_context_stays_stretched(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path, kind: str, sections: dict[str, bool]
) -> None:
    vlm = new_vlm(kind)
    plain = logits_of(AutoModelForImageTextToText, vlm, text_BT)
    yarn = {"rope_type": "yarn", "rope_theta": 777.0, "factor": 4.0, "original_max_position_embeddings": 16}

    def stretch(config: dict[str, Any]) -> dict[str, Any]:
        config["text_config"]["rope_parameters"] = yarn | {"mrope_section": [2, 1, 1]} | sections
        return config

    rewrite_json(vlm / "config.json", stretch)
    assert not torch.equal(logits_of(AutoModelForImageTextToText, vlm, text_BT), plain)
    assert_there_and_back(vlm, text_BT, tmp_path)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_no_image_positions_are_left_in_the_text_settings(new_vlm: NewVlm, tmp_path: Path, kind: str) -> None:
    detach(new_vlm(kind), tmp_path / "lm")
    config = json.loads((tmp_path / "lm" / "config.json").read_text())
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 777.0}
    assert config["rope_scaling"] is None


def test_a_soft_cap_that_the_vlm_never_applies_is_off(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path
) -> None:
    vlm = new_vlm("gemma3")

    def cap(config: dict[str, Any]) -> dict[str, Any]:
        config["text_config"]["final_logit_softcapping"] = 0.5
        return config

    rewrite_json(vlm / "config.json", cap)
    assert_there_and_back(vlm, text_BT, tmp_path)


def test_readers_before_transformers_5_find_the_rope_they_know(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("gemma3")
    detach(vlm, tmp_path / "lm")
    config = json.loads((tmp_path / "lm" / "config.json").read_text())
    assert (config["rope_theta"], config["rope_local_base_freq"]) == (777.0, 99.0)
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert config["torch_dtype"] == "float32"


def test_a_stored_head_that_is_tied_follows_the_embeddings(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path
) -> None:
    vlm = new_vlm("qwen2_vl-tied")
    rewrite(vlm, lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    assert_there_and_back(vlm, text_BT, tmp_path)

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "lm")
    model.get_input_embeddings().weight.data += 0.5
    model.save_pretrained(tmp_path / "trained")
    assert "lm_head.weight" not in load_file(tmp_path / "trained" / "model.safetensors")
    graft(vlm, tmp_path / "trained", tmp_path / "grafted")
    grafted = load_file(tmp_path / "grafted" / "model.safetensors")
    assert torch.equal(grafted["lm_head.weight"], model.get_input_embeddings().weight)
    assert torch.equal(grafted["model.embed_tokens.weight"], model.get_input_embeddings().weight)


def test_a_head_of_its_own_is_believed_over_the_settings(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path
) -> None:
    vlm = new_vlm("internvl-qwen2")
    rewrite_json(vlm / "config.json", lambda config: config | {"tie_word_embeddings": True})
    assert_there_and_back(vlm, text_BT, tmp_path)
    assert json.loads((tmp_path / "lm" / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_trainer_may_save_the_tied_head(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("qwen3_vl-tied")
    detach(vlm, tmp_path / "lm")
    rewrite(tmp_path / "lm", lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    graft(vlm, tmp_path / "lm", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (vlm / "model.safetensors").read_bytes()


def test_each_tensor_keeps_its_own_dtype(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("gemma3", dtype=torch.bfloat16)
    norm = "language_model.model.norm.weight"
    rewrite(vlm, lambda tensors: tensors | {norm: tensors[norm].float() + 1e-6})
    detach(vlm, tmp_path / "lm")
    assert load_file(tmp_path / "lm" / "model.safetensors")["model.norm.weight"].dtype == torch.float32
    graft(vlm, tmp_path / "lm", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (vlm / "model.safetensors").read_bytes()


def test_recomputed_buffers_of_old_saves_stay_where_they_are(
    new_vlm: NewVlm, text_BT: Tensor, tmp_path: Path
) -> None:
    vlm = new_vlm("llava-llama")
    buffer = {"language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    rewrite(vlm, lambda tensors: tensors | buffer)
    assert_there_and_back(vlm, text_BT, tmp_path)
    assert not any("inv_freq" in name for name in load_file(tmp_path / "lm" / "model.safetensors"))


def test_a_template_kept_with_the_processor_reaches_the_text_model(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("llava-llama")
    template = (vlm / "chat_template.jinja").read_text()
    (vlm / "chat_template.jinja").unlink()
    (vlm / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    detach(vlm, tmp_path / "lm")
    assert (tmp_path / "lm" / "chat_template.jinja").read_text() == template


def test_weights_in_other_formats_are_not_carried_into_a_graft(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("mistral3-mistral")
    (vlm / "consolidated.safetensors").write_bytes(b"the same weights, before training")
    (vlm / "LICENSE").write_text("free")
    detach(vlm, tmp_path / "lm")
    graft(vlm, tmp_path / "lm", tmp_path / "back")
    assert not (tmp_path / "back" / "consolidated.safetensors").exists()
    assert (tmp_path / "back" / "LICENSE").read_text() == "free"
