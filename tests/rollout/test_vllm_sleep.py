"""vLLM between two updates, on a GPU: a recorder stands for the engine, and the CPU for the GPU."""

from typing import Any

import pytest
import torch

from xreasoner.records import Sampling
from xreasoner.rollout.vllm_engine import engine as module
from xreasoner.rollout.vllm_engine.engine import VllmEngine


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def sleep(self, level: int) -> None:
        self.calls.append(("sleep", level))

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(("wake up", *tags))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    made = object.__new__(VllmEngine)
    made._engine, made._is_asleep = Recorder(), False
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        module, "load_weights", lambda engine, weights: engine.calls.append(("load", [*weights]))
    )
    return made


def test_weights_that_are_replaced_are_not_kept_and_the_cache_comes_back_last(engine: VllmEngine) -> None:
    weight = torch.ones(2)
    engine.take_weights([("w", weight)])
    engine.sleep()
    engine.sleep()
    engine.take_weights([("w", weight)])
    engine.take_weights([("w", weight)])
    load = ("load", [("w", weight)])
    assert engine._engine.calls == [
        load, ("sleep", 2), ("wake up", "weights"), load, ("wake up", "kv_cache"), load,
    ]  # fmt: skip


def test_nothing_is_sampled_from_weights_that_are_gone(engine: VllmEngine) -> None:
    engine.sleep()
    with pytest.raises(AssertionError, match="no new ones came"):
        list(engine.generate([], Sampling()))
