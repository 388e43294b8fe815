"""Further families: there and back byte for byte, the same logits on text, trained packed as one by one."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.models.conftest import save_vlm
from tests.models.kinds import FURTHER
from tests.models.test_packed_families import assert_packed_is_one_by_one
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from xreasoner.models.families import FAMILIES
from xreasoner.models.surgery import detach, graft
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.packing_check import check_packing

REFUSED = {
    "mllama": "transformers has no causal language model of that type",
}
SCALED = {"aya_vision": 0.25, "cohere2_vision": 0.25}
"""What the vision-language class leaves out of its logits."""


@pytest.mark.parametrize("kind", [kind for kind in FURTHER if kind not in REFUSED])
def test_there_and_back_and_trained(kind: str, text_BT: Tensor, tmp_path: Path) -> None:
    if kind == "paligemma" and transformers.__version__.startswith("5.16."):
        pytest.skip("PaliGemma of transformers 5.16 leaves out the cap of the logits, which detach refuses")
    if kind == "llama4" and transformers.__version__.startswith("5.24."):
        pytest.skip("Llama 4 of transformers 5.24 fails on text: it asks the text model for its pictures")
    vlm, lm_path = save_vlm(kind, tmp_path / "vlm"), tmp_path / "lm"
    detach(vlm, lm_path)
    graft(vlm, lm_path, tmp_path / "back")
    file = "model.safetensors"
    assert (tmp_path / "back" / file).read_bytes() == (vlm / file).read_bytes()
    lm, report = AutoModelForCausalLM.from_pretrained(lm_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    ids_BT = text_BT % 50  # some families mark tokens above
    with torch.no_grad():
        ours_BTV = lm(input_ids=ids_BT).logits
        theirs_BTV = AutoModelForImageTextToText.from_pretrained(vlm)(input_ids=ids_BT).logits
    torch.testing.assert_close(ours_BTV, theirs_BTV * SCALED.get(kind, 1.0), rtol=1e-5, atol=2e-6)
    assert theirs_BTV.std() > 0.1
    if check_packing(LanguageModelLoss(lm), torch.float32):
        assert_packed_is_one_by_one(lm)
    else:
        # Packed attention neither caps scores, picks keys by an index, nor sees chunks.
        assert kind in ("paligemma", "qwen4_exp", "llama4")


def test_experts_that_a_release_stores_turned_come_out_and_go_back(tmp_path: Path) -> None:
    """Rows and columns exchanged, as in Qwen3-VL-MoE's published files. Each expert is held by hand."""
    vlm, turned = save_vlm("qwen3_vl_moe", tmp_path / "vlm"), tmp_path / "turned"
    shutil.copytree(vlm, turned)
    stored = load_file(vlm / "model.safetensors")
    fused = {name: one for name, one in stored.items() if ".experts." in name}
    assert len(fused) == 2 * 3  # two in each layer
    published = stored | {name: one.transpose(1, 2).contiguous() for name, one in fused.items()}
    save_file(published, turned / "model.safetensors", {"format": "pt"})
    for folder in (vlm, turned):
        detach(folder, tmp_path / f"{folder.name}-lm")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("vlm-lm", "turned-lm"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    gate_up = fused["model.language_model.layers.1.mlp.experts.gate_up_proj"]
    expert = "model.layers.1.mlp.experts.2"
    assert torch.equal(other[f"{expert}.gate_proj.weight"], gate_up[2, :12])
    assert torch.equal(other[f"{expert}.up_proj.weight"], gate_up[2, 12:])
    down = fused["model.language_model.layers.1.mlp.experts.down_proj"]
    assert torch.equal(other[f"{expert}.down_proj.weight"], down[2])
    graft(turned, tmp_path / "turned-lm", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        turned / "model.safetensors"
    ).read_bytes()
    changed = {name: tensor + 1 for name, tensor in other.items()}
    save_file(changed, tmp_path / "turned-lm" / "model.safetensors", {"format": "pt"})
    graft(turned, tmp_path / "turned-lm", tmp_path / "new")
    new = load_file(tmp_path / "new" / "model.safetensors")
    for name, tensor in fused.items():
        torch.testing.assert_close(new[name], tensor.transpose(1, 2) + 1)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_alone_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    vlm = save_vlm(kind, tmp_path / "vlm")
    with pytest.raises(ValueError) as caught:
        detach(vlm, tmp_path / "lm")
    assert REFUSED[kind] in str(caught.value) and "\n" not in str(caught.value)


def test_other_logits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factor that the vision-language class leaves out, in a family of which that is not known."""
    vlm = save_vlm("aya_vision", tmp_path / "vlm")
    monkeypatch.delitem(FAMILIES, "aya_vision")
    with pytest.raises(ValueError, match="Cohere2ForCausalLM computes other logits than AyaVision"):
        detach(vlm, tmp_path / "lm")


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_a_vision_tower_of_another_package_names_it(tmp_path: Path) -> None:
    AutoConfig.for_model("gemma3n").save_pretrained(tmp_path / "vlm")
    with pytest.raises(ValueError, match="pip install timm"):
        detach(tmp_path / "vlm", tmp_path / "lm")
