"""Who generates, by name and by `auto`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xreasoner.models.load import load
from xreasoner.parallel import World
from xreasoner.recipe import Evaluation, GrpoStage
from xreasoner.rollout import choose
from xreasoner.rollout.choose import choose_engine, foregone, open_engine, parameters
from xreasoner.rollout.torch_engine import TorchEngine
from xreasoner.rollout.vllm_version import why_not_vllm

CPU, GPU = (World(0, 1, torch.device(name)) for name in ("cpu", "cuda"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "why_not_vllm", lambda: None)


def test_parameters_are_counted_without_reading_them(tiny_base: Path) -> None:
    assert parameters(tiny_base) == sum(p.numel() for p in load(tiny_base).model.parameters())


def test_auto_is_the_faster_one_where_that_was_measured(
    tiny_base: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = parameters(tiny_base)
    for threshold, chosen in ((count + 1, "torch"), (count, "vllm")):
        monkeypatch.setattr(choose, "VLLM_FROM", {"cpu": threshold})
        assert choose_engine("auto", tiny_base, CPU) == chosen
        assert choose_engine("auto", tiny_base, GPU) == "torch"


def test_without_vllm_auto_does_without_it(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "why_not_vllm", lambda: "it is not here")
    monkeypatch.setattr(choose, "VLLM_FROM", {"cpu": 0})
    assert choose_engine("auto", tiny_base, CPU) == "torch"
    assert isinstance(open_engine(tiny_base, Evaluation(), CPU), TorchEngine)
    with pytest.raises(ValueError, match=r"^engine vllm: it is not here$"):
        choose_engine("vllm", tiny_base, CPU)
    assert foregone("auto", tiny_base, CPU) == "auto takes the torch engine: it is not here"
    assert foregone("torch", tiny_base, CPU) is None
    # Where vLLM would not be faster, nothing is missed.
    monkeypatch.setattr(choose, "VLLM_FROM", {})
    assert foregone("auto", tiny_base, CPU) is None


def test_in_several_processes_vllm_is_not_taken(
    tiny_base: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "VLLM_FROM", {"cpu": 0})
    several = replace(CPU, size=2)
    assert choose_engine("auto", tiny_base, several) == "torch"
    assert choose_engine("server", tiny_base, several) == "server"
    with pytest.raises(ValueError, match=r"^engine vllm: it works in a single process"):
        choose_engine("vllm", tiny_base, several)


@pytest.mark.parametrize(
    ("found", "said"),
    [(None, "not installed"), ("0.11.2", "older than 0.32"), ("0.32.1", None), ("1.0", None)],
)
def test_an_old_vllm_is_none(found: str | None, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.rollout.vllm_version.find_spec", lambda _: found)
    monkeypatch.setattr("xreasoner.rollout.vllm_version._version", lambda _: found)
    trouble = why_not_vllm()
    assert trouble is None if said is None else said in str(trouble) and "\n" not in str(trouble)


def test_a_server_has_an_address() -> None:
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
