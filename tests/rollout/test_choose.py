"""The engine by name and by `auto`."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.kinds import FURTHER, KINDS
from transformers import AutoConfig

from xreasoner.models.config import read_config
from xreasoner.models.image_support import needs_generate
from xreasoner.models.resolve import resolve_model
from xreasoner.recipe.schema import Evaluation, GrpoStage
from xreasoner.rollout import choose
from xreasoner.rollout.choose import (
    auto_fallback,
    choose_engine,
    choose_to_evaluate,
    open_engine,
    slow_line,
    why_not_torch,
)
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.options import why_not_vllm

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "why_not_vllm", lambda: None)


@pytest.mark.parametrize(
    ("count", "on_cpu", "on_gpu"),
    [
        (3_000_000, "torch", "torch"),
        (10_000_000, "vllm", "torch"),
        (999_999_999, "vllm", "torch"),
        (1_000_000_000, "vllm", "vllm"),
    ],
)
def test_auto_goes_by_the_size_of_the_model_and_the_device(
    count: int, on_cpu: str, on_gpu: str, tiny_base: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "parameters", lambda _: count)
    assert choose_engine("auto", tiny_base, CPU) == on_cpu
    assert choose_engine("auto", tiny_base, GPU) == on_gpu
    assert choose_engine("torch", tiny_base, GPU) == "torch"


def test_the_quickstart_stays_on_the_torch_engine(installed: None) -> None:
    assert choose_engine("auto", resolve_model("miniworld"), CPU) == "torch"


def test_auto_falls_back_without_vllm(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "why_not_vllm", lambda: "it is not here")
    monkeypatch.setattr(choose, "VLLM_FROM", {"cpu": 0})
    assert choose_engine("auto", tiny_base, CPU) == "torch"
    assert isinstance(open_engine(tiny_base, Evaluation(), CPU), TorchEngine)
    with pytest.raises(ValueError, match=r"^engine vllm: it is not here$"):
        choose_engine("vllm", tiny_base, CPU)
    assert auto_fallback("auto", tiny_base, CPU) == "auto uses the torch engine: it is not here"
    assert auto_fallback("torch", tiny_base, CPU) is None
    # If vLLM would not be faster, there is nothing to report.
    monkeypatch.setattr(choose, "VLLM_FROM", {})
    assert auto_fallback("auto", tiny_base, CPU) is None


@pytest.mark.parametrize(
    ("found", "why"),
    [(None, "not installed"), ("0.11.2", "older than 0.32"), ("0.32.1", None), ("1.0", None)],
)
def test_an_old_vllm_is_not_used(found: str | None, why: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.rollout.vllm_engine.options.find_spec", lambda _: found)
    monkeypatch.setattr("xreasoner.rollout.vllm_engine.options._version", lambda _: found)
    trouble = why_not_vllm()
    assert trouble is None if why is None else why in str(trouble) and "\n" not in str(trouble)


@pytest.mark.parametrize("kind", ["qwen3_5", "qwen4_exp", "lfm2_vl", "mllama", "llama4", "gemma4"])
def test_images_that_torch_cannot_answer_about_go_to_generate(kind: str, tmp_path: Path) -> None:
    """By the configuration alone."""
    settings = FURTHER[kind]()
    AutoConfig.for_model(settings.pop("model_type"), **settings).save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    assert choose_to_evaluate("auto", tmp_path, CPU, images=True) == "generate"
    with pytest.raises(ValueError, match=r"^engine torch: the torch engine does not .*; use engine auto,"):
        choose_to_evaluate("torch", tmp_path, CPU, images=True)
    line = slow_line("auto", tmp_path, CPU, images=True)
    assert line is not None and line.startswith("transformers' own generate answers") and "\n" not in line
    # Of these, our engine can answer about text.
    in_text = choose_to_evaluate("auto", tmp_path, CPU, images=False)
    assert in_text == ("torch" if kind == "gemma4" else "generate")


@pytest.mark.parametrize("kind", {**KINDS, **FURTHER})
def test_the_plan_knows_from_the_family_what_the_engine_knows_from_the_layers(
    kind: str, tmp_path: Path
) -> None:
    settings = {**KINDS, **FURTHER}[kind]()
    AutoConfig.for_model(settings.pop("model_type"), **settings).save_pretrained(tmp_path)
    assert needs_generate(read_config(tmp_path)) == (why_not_torch(tmp_path, images=True) is not None)


def test_what_torch_knows_stays_there_and_generate_can_be_asked_for() -> None:
    base = resolve_model("miniworld")
    assert why_not_torch(base, images=True) is None and slow_line("auto", base, CPU, images=True) is None
    assert choose_to_evaluate("auto", base, CPU) == "torch"
    assert choose_to_evaluate("generate", base, CPU) == "generate"
    line = slow_line("generate", base, CPU, images=True)
    assert line is not None and "the recipe says so" in line


def test_a_server_needs_its_settings() -> None:
    with pytest.raises(ValueError, match="engine: server and the setting server"):
        Evaluation.model_validate({"engine": "server"})
    with pytest.raises(ValueError, match="rollout: server and the setting server"):
        GrpoStage.model_validate(
            {
                "kind": "grpo",
                "steps": 1,
                "data": [{"source": "jsonl", "path": "x"}],
                "server": {"url": "http://here/v1", "model": "m"},
            }
        )
