"""What detach and graft refuse: a one-line error that names the file, tensor or setting, and no output."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from xreasoner.models.surgery import detach, graft

NewVlm = Callable[..., Path]
Tensors = dict[str, Tensor]


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def rewrite(checkpoint: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = checkpoint / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def change_setting(checkpoint: Path, key: str, value: object) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))


def refused(act: Callable[[], None], out: Path) -> str:
    with pytest.raises(ValueError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert not out.exists()
    return message


def test_a_text_model_has_nothing_to_detach_from(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    message = refused(lambda: detach(tmp_path / "llama", tmp_path / "out"), tmp_path / "out")
    assert "'llama' without a vision tower" in message


@pytest.mark.parametrize(
    ("tower", "complaint"),
    [
        ("phi3", "Phi3ForCausalLM has model.layers.0.mlp.gate_proj.weight of shape None"),
        ("clip_text_model", "transformers has no causal language model of that type"),
    ],
)
def test_a_tower_that_is_not_what_the_settings_say(
    new_vlm: NewVlm, tmp_path: Path, tower: str, complaint: str
) -> None:
    vlm = new_vlm("llava-llama")
    config = json.loads((vlm / "config.json").read_text())
    change_setting(vlm, "text_config", config["text_config"] | {"model_type": tower})
    assert complaint in refused(lambda: detach(vlm, tmp_path / "out"), tmp_path / "out")


def test_a_family_that_transformers_does_not_know(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("llava-llama")
    change_setting(vlm, "model_type", "llava_of_tomorrow")
    message = refused(lambda: detach(vlm, tmp_path / "out"), tmp_path / "out")
    assert "'llava_of_tomorrow', which transformers" in message and "does not know" in message


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "vlm").mkdir()
    message = refused(lambda: detach(tmp_path / "vlm", tmp_path / "out"), tmp_path / "out")
    assert "config.json" in message


def test_a_folder_with_something_in_it_is_never_written_to(new_vlm: NewVlm, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    vlm = new_vlm("qwen2_vl")
    with pytest.raises(ValueError, match="not an empty folder"):
        detach(vlm, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("model.layers.1.mlp.up_proj.weight"), "model.layers.1.mlp.up_proj.weight"),
        (
            without("model.embed_tokens.weight"),
            "none of its tensors ends in embed_tokens.weight with shape (64, 32)",
        ),
        (without("lm_head.weight"), "lm_head.weight is missing"),
        (
            lambda tensors: tensors | {"model.layers.0.router.weight": torch.ones(2)},
            "model.layers.0.router.weight",
        ),
    ],
)
def test_a_damaged_vlm(
    new_vlm: NewVlm, tmp_path: Path, change: Callable[[Tensors], Tensors], complaint: str
) -> None:
    vlm = new_vlm("qwen2_vl")
    rewrite(vlm, change)
    assert complaint in refused(lambda: detach(vlm, tmp_path / "out"), tmp_path / "out")


def test_a_quantised_vlm(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("mistral3-ministral3")
    change_setting(vlm, "quantization_config", {"quant_method": "fp8"})
    assert "quantised" in refused(lambda: detach(vlm, tmp_path / "out"), tmp_path / "out")


def test_a_missing_or_broken_file(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm = new_vlm("smolvlm", max_shard_size="20KB")
    last = sorted(vlm.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-4])
    out = tmp_path / "out"
    assert last.name in refused(lambda: detach(vlm, out), out)
    last.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "LFS" in refused(lambda: detach(vlm, out), out)
    last.unlink()
    assert last.name in refused(lambda: detach(vlm, out), out)
    (vlm / "model.safetensors.index.json").unlink()
    assert "safetensors" in refused(lambda: detach(vlm, out), out)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("model.norm.weight"), "lacks the tensor model.norm.weight"),
        (without("lm_head.weight"), "lacks the tensor lm_head.weight"),
        (lambda tensors: tensors | {"score.weight": torch.ones(2)}, "no place for: score.weight"),
        (
            lambda tensors: tensors | {"model.norm.weight": torch.ones(31)},
            "model.norm.weight has shape (31,), the vision-language model's (32,)",
        ),
        (
            lambda tensors: tensors | {"model.norm.weight": torch.ones(32, dtype=torch.int8)},
            "model.norm.weight is I8",
        ),
    ],
)
def test_a_text_model_that_does_not_fit(
    new_vlm: NewVlm, tmp_path: Path, change: Callable[[Tensors], Tensors], complaint: str
) -> None:
    vlm, lm = new_vlm("qwen2_5_vl"), tmp_path / "lm"
    detach(vlm, lm)
    rewrite(lm, change)
    assert complaint in refused(lambda: graft(vlm, lm, tmp_path / "out"), tmp_path / "out")


def test_a_head_that_was_untied_by_training(new_vlm: NewVlm, tmp_path: Path) -> None:
    vlm, lm = new_vlm("qwen2_5_vl-tied"), tmp_path / "lm"
    detach(vlm, lm)
    rewrite(lm, lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1})
    message = refused(lambda: graft(vlm, lm, tmp_path / "out"), tmp_path / "out")
    assert "lm_head.weight of its own" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [("rope_theta", 10.0), ("num_attention_heads", 8), ("rms_norm_eps", 0.1), ("hidden_act", "gelu")],
)
def test_a_text_model_that_computes_otherwise(
    new_vlm: NewVlm, tmp_path: Path, key: str, value: object
) -> None:
    vlm, lm = new_vlm("qwen2_5_vl"), tmp_path / "lm"
    detach(vlm, lm)
    rope = {"rope_type": "default", "rope_theta": value}
    change_setting(lm, *("rope_parameters", rope) if key == "rope_theta" else (key, value))
    message = refused(lambda: graft(vlm, lm, tmp_path / "out"), tmp_path / "out")
    assert str(value) in message and ("rope_parameters" if key == "rope_theta" else key) in message
