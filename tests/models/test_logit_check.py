"""How much of a model the comparison of logits reads."""

from pathlib import Path

import pytest
from tests.models.conftest import save_vlm
from transformers import Gemma3TextConfig, Gemma4TextConfig, Qwen2Config

from xreasoner.models import logit_check
from xreasoner.models.logit_check import layers_to_compare
from xreasoner.models.surgery import detach
from xreasoner.models.tensor_files import StoredTensor


def stored(name: str, *shape: int) -> StoredTensor:
    return StoredTensor(Path("model.safetensors"), name, "F32", shape, 0, 0)


def test_layers_are_compared_up_to_the_first_of_the_last_kind() -> None:
    gemma = Gemma3TextConfig(
        num_hidden_layers=12, layer_types=[*["sliding_attention"] * 5, "full_attention"] * 2
    )
    assert layers_to_compare(gemma, {}) == 6
    assert layers_to_compare(Qwen2Config(num_hidden_layers=28), {}) == 2
    assert layers_to_compare(Qwen2Config(num_hidden_layers=1), {}) == 1


def test_layers_with_other_tensors_are_another_kind() -> None:
    tensors = {f"model.layers.{i}.mlp.up.weight": stored("up", 9 if i == 4 else 8, 2) for i in range(6)}
    assert layers_to_compare(Qwen2Config(num_hidden_layers=6), tensors) == 5


def test_layers_that_share_keys_need_the_whole() -> None:
    assert layers_to_compare(Gemma4TextConfig(num_hidden_layers=30, num_kv_shared_layers=20), {}) == 30


@pytest.mark.parametrize("kind", ["gemma3", "qwen2_5_vl-tied"])
def test_only_the_first_rows_of_a_vocabulary_are_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = save_vlm(kind, tmp_path / "vlm")
    read: dict[str, tuple[int, ...]] = {}
    original = logit_check._read

    def remember(tensor: StoredTensor, shape: tuple[int, ...]) -> object:
        read[tensor.name] = shape
        return original(tensor, shape)

    monkeypatch.setattr(logit_check, "ROWS", 16)
    monkeypatch.setattr(logit_check, "_read", remember)
    detach(vlm, tmp_path / "lm")
    (embeddings,) = (shape for name, shape in read.items() if name.endswith("embed_tokens.weight"))
    assert embeddings == (16, 32)
    layers = {name.partition("layers.")[2].partition(".")[0] for name in read if "layers." in name}
    assert layers == ({"0", "1", "2"} if kind == "gemma3" else {"0", "1"})
