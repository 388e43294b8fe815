"""Which precision `auto` means."""

import time
from pathlib import Path

import pytest
import torch

from xreasoner.models import precision
from xreasoner.models.load import load
from xreasoner.models.precision import LEAST_ON_CPU, compute_dtype, has_bfloat16_instructions
from xreasoner.models.tensor_files import parameters

CPU = torch.device("cpu")


def test_parameters_are_counted_without_reading_them(tiny_base: Path) -> None:
    assert parameters(tiny_base) == sum(p.numel() for p in load(tiny_base).model.parameters())


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert compute_dtype("bfloat16", CPU, parameters=1) == torch.bfloat16
    assert compute_dtype("float32", CPU, parameters=10**12) == torch.float32


def test_small_models_are_computed_in_float32_on_every_cpu() -> None:
    assert compute_dtype("auto", CPU, LEAST_ON_CPU - 1) == torch.float32


@pytest.mark.parametrize("has_instructions", [True, False])
def test_large_models_follow_the_cpus_instructions_and_no_clock(
    monkeypatch: pytest.MonkeyPatch, has_instructions: bool
) -> None:
    """Otherwise a resumed stage, or an evaluation on a busy machine, could get another precision."""
    monkeypatch.setattr(precision, "has_bfloat16_instructions", lambda: has_instructions)
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("it was timed"))
    wanted = torch.bfloat16 if has_instructions else torch.float32
    assert compute_dtype("auto", CPU, LEAST_ON_CPU) == wanted


def test_bfloat16_is_faster_exactly_where_the_cpu_has_the_instructions() -> None:
    assert (bfloat16_gain() >= 1.2) == has_bfloat16_instructions()


def bfloat16_gain() -> float:
    """How much faster a matrix product is in bfloat16. Other load does not last for every try."""
    left, right = torch.randn(256, 1024), torch.randn(1024, 1024)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(5):
        for dtype, best in seconds.items():
            operands = left.to(dtype), right.to(dtype)
            began = time.perf_counter()
            torch.mm(*operands)
            seconds[dtype] = min(best, time.perf_counter() - began)
    return seconds[torch.float32] / seconds[torch.bfloat16]
