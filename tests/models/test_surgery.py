"""detach and graft, for every family: nothing is lost, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from xreasoner.models import surgery
from xreasoner.models.surgery import detach, graft
from xreasoner.storage.folders import CHECKSUMS


@torch.no_grad()
def logits_of(model_class: type, checkpoint: Path, text_BT: Tensor) -> Tensor:
    return model_class.from_pretrained(checkpoint, dtype="auto")(input_ids=text_BT).logits


def files_of(folder: Path) -> dict[str, bytes]:
    """Without the checksums, which a folder written by us holds beside them."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != CHECKSUMS}


def tensors_of(checkpoint: Path) -> dict[str, Tensor]:
    return {name: t for file in checkpoint.glob("*.safetensors") for name, t in load_file(file).items()}


def train(lm: Path, out: Path, *, dtype: torch.dtype | None = None, max_shard_size: str = "5GB") -> Path:
    """Stands for training: every weight moves, then transformers saves the model in its own way."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(lm, dtype=dtype or "auto")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(out, max_shard_size=max_shard_size)
    return out


@torch.no_grad()
def test_there_and_back(vlm: Path, text_BT: Tensor, tmp_path: Path) -> None:
    """The text model computes the same logits, lacks nothing, and comes back file for file."""
    detach(vlm, tmp_path / "lm")
    lm, report = AutoModelForCausalLM.from_pretrained(tmp_path / "lm", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    detached = lm(input_ids=text_BT).logits
    assert torch.equal(detached, logits_of(AutoModelForImageTextToText, vlm, text_BT))
    assert detached.std() > 0.1
    graft(vlm, tmp_path / "lm", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(vlm)


@pytest.mark.parametrize("kind", ["qwen2_5_vl-tied", "llava-llama", "gemma3", "smolvlm"])
def test_trained_text_arrives_and_vision_is_untouched(
    kind: str, new_vlm: Callable[..., Path], text_BT: Tensor, tmp_path: Path
) -> None:
    vlm = new_vlm(kind)
    detach(vlm, tmp_path / "lm")
    trained = train(tmp_path / "lm", tmp_path / "trained")
    graft(vlm, trained, tmp_path / "grafted")

    after = logits_of(AutoModelForImageTextToText, tmp_path / "grafted", text_BT)
    assert torch.equal(after, logits_of(AutoModelForCausalLM, trained, text_BT))
    assert not torch.equal(after, logits_of(AutoModelForImageTextToText, vlm, text_BT))

    old, new = tensors_of(vlm), tensors_of(tmp_path / "grafted")
    unchanged = {name for name in old if torch.equal(old[name], new[name])}
    text_count = len(tensors_of(trained))
    assert len(old) - len(unchanged) == text_count
    assert all("language_model" not in name and "lm_head" not in name for name in unchanged)


def test_many_shards_keep_their_layout(new_vlm: Callable[..., Path], text_BT: Tensor, tmp_path: Path) -> None:
    vlm = new_vlm("qwen2_5_vl-tied", max_shard_size="20KB")
    detach(vlm, tmp_path / "lm")
    assert 1 < len(list((tmp_path / "lm").glob("*.safetensors"))) < len(list(vlm.glob("*.safetensors")))
    detached = logits_of(AutoModelForCausalLM, tmp_path / "lm", text_BT)
    assert torch.equal(detached, logits_of(AutoModelForImageTextToText, vlm, text_BT))

    graft(vlm, tmp_path / "lm", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(vlm)


@pytest.mark.parametrize(("vlm_shards", "lm_shards"), [("20KB", "5GB"), ("5GB", "20KB"), ("20KB", "35KB")])
def test_the_trained_model_may_be_sharded_otherwise(
    new_vlm: Callable[..., Path], text_BT: Tensor, tmp_path: Path, vlm_shards: str, lm_shards: str
) -> None:
    vlm = new_vlm("llava-llama", max_shard_size=vlm_shards)
    detach(vlm, tmp_path / "lm")
    trained = train(tmp_path / "lm", tmp_path / "trained", max_shard_size=lm_shards)
    graft(vlm, trained, tmp_path / "grafted")
    after = logits_of(AutoModelForImageTextToText, tmp_path / "grafted", text_BT)
    assert torch.equal(after, logits_of(AutoModelForCausalLM, trained, text_BT))
    assert files_of(tmp_path / "grafted").keys() == files_of(vlm).keys()


def test_bfloat16_is_kept(new_vlm: Callable[..., Path], text_BT: Tensor, tmp_path: Path) -> None:
    vlm = new_vlm("qwen3_vl", dtype=torch.bfloat16)
    detach(vlm, tmp_path / "lm")
    assert {tensor.dtype for tensor in tensors_of(tmp_path / "lm").values()} == {torch.bfloat16}
    detached = logits_of(AutoModelForCausalLM, tmp_path / "lm", text_BT)
    assert detached.dtype == torch.bfloat16
    assert torch.equal(detached, logits_of(AutoModelForImageTextToText, vlm, text_BT))


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_a_model_trained_in_float32_is_rounded_to_the_dtype_of_the_original(
    new_vlm: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: torch.dtype
) -> None:
    monkeypatch.setattr("xreasoner.models.tensor_files.BUFFER", 1000)  # so that tensors span several blocks
    vlm = new_vlm("qwen2_5_vl", dtype=stored)
    detach(vlm, tmp_path / "lm")
    trained = train(tmp_path / "lm", tmp_path / "trained", dtype=torch.float32)
    graft(vlm, trained, tmp_path / "grafted")
    grafted = tensors_of(tmp_path / "grafted")
    assert {tensor.dtype for tensor in grafted.values()} == {stored}
    for name, tensor in tensors_of(trained).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(grafted[name], tensor.to(stored))


def test_text_files_travel_and_image_files_stay(new_vlm: Callable[..., Path], tmp_path: Path) -> None:
    vlm = new_vlm("qwen2_5_vl")
    detach(vlm, tmp_path / "lm")
    detached, original = files_of(tmp_path / "lm"), files_of(vlm)
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert detached[name] == original[name]
    assert "preprocessor_config.json" not in detached
    assert hasattr(AutoProcessor.from_pretrained(tmp_path / "lm"), "apply_chat_template")


def test_a_failure_half_way_leaves_nothing_behind(
    new_vlm: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = new_vlm("qwen2_vl")

    def disk_full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(surgery, "copy_text_files", disk_full)
    with pytest.raises(OSError, match="no space"):
        detach(vlm, tmp_path / "lm")
    assert [entry.name for entry in tmp_path.iterdir()] == ["vlm"]


def test_an_empty_folder_may_be_filled(new_vlm: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    detach(new_vlm("smolvlm"), tmp_path / "lm")
    assert (tmp_path / "lm" / "config.json").is_file()
