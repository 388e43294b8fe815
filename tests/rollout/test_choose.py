"""The engine by name and by `auto`."""

from pathlib import Path

import pytest
import torch

from xreasoner.models.resolve import resolve_model
from xreasoner.recipe.schema import Evaluation, GrpoStage
from xreasoner.rollout import choose
from xreasoner.rollout.choose import auto_fallback, choose_engine, open_engine
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
