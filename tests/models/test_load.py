import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2ForCausalLM
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.models.config import has_vision
from xreasoner.models.load import load, load_tokenizer
from xreasoner.models.surgery import detach

NewVlm = Callable[..., Path]


@pytest.fixture
def vlm_path(new_vlm: NewVlm) -> Path:
    path = new_vlm("qwen2_5_vl", dtype=torch.bfloat16)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 784, "longest_edge": 7840}).save_pretrained(path)
    return path


def test_a_vlm_comes_with_its_image_processor(vlm_path: Path) -> None:
    loaded = load(vlm_path)
    assert has_vision(vlm_path)
    assert isinstance(loaded.model, Qwen2_5_VLForConditionalGeneration)
    assert (loaded.model.dtype, loaded.model.training) == (torch.bfloat16, False)
    assert loaded.image_processor is not None
    picture = Image.fromarray(np.zeros((28, 56, 3), dtype=np.uint8))
    assert loaded.image_processor(picture, return_tensors="pt")["image_grid_thw"].tolist() == [[1, 2, 4]]


def test_a_detached_model_is_text_only(vlm_path: Path, tmp_path: Path) -> None:
    detach(vlm_path, tmp_path / "lm")
    loaded = load(tmp_path / "lm", dtype=torch.float32, attention="eager")
    assert not has_vision(tmp_path / "lm")
    assert isinstance(loaded.model, Qwen2ForCausalLM)
    assert loaded.image_processor is None
    assert loaded.model.dtype == torch.float32
    assert loaded.model.config._attn_implementation == "eager"


def test_the_tokenizer_file_decides_and_not_the_model_type(vlm_path: Path, tmp_path: Path) -> None:
    detach(vlm_path, tmp_path / "lm")
    for path in (vlm_path, tmp_path / "lm"):
        tokenizer = load_tokenizer(path)
        assert tokenizer("w5 w9 w41").input_ids == [5, 9, 41]
        rendered = tokenizer.apply_chat_template([{"role": "user", "content": "w5"}], tokenize=False)
        assert rendered == "w5 w2 "


def test_a_template_kept_with_the_processor_is_found(vlm_path: Path) -> None:
    (vlm_path / "chat_template.jinja").unlink()
    assert load_tokenizer(vlm_path).chat_template is None
    (vlm_path / "chat_template.json").write_text(json.dumps({"chat_template": "hello"}))
    assert load_tokenizer(vlm_path).chat_template == "hello"


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        load(tmp_path)


def test_code_that_comes_with_a_checkpoint_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the user asked whether it may be."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    ran = tmp_path / "ran"
    auto = {
        "AutoConfig": "own.Config",
        "AutoModelForCausalLM": "own.Model",
        "AutoTokenizer": ["own.Tok", None],
    }
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto}))
    for read in (load, load_tokenizer):
        with pytest.raises(ValueError):
            read(tmp_path)
    assert not ran.exists()
