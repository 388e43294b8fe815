"""Which precision `auto` means."""

from pathlib import Path

import torch

from xreasoner.models.load import load
from xreasoner.models.precision import (
    LEAST_GAIN,
    LEAST_ON_CPU,
    bfloat16_gain,
    bfloat16_pays,
    compute_dtype,
    has_bfloat16_instructions,
)
from xreasoner.models.tensor_files import parameters

CPU = torch.device("cpu")


def test_parameters_are_counted_without_reading_them(tiny_base: Path) -> None:
    assert parameters(tiny_base) == sum(p.numel() for p in load(tiny_base).model.parameters())


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert compute_dtype("bfloat16", CPU, parameters=1) == torch.bfloat16
    assert compute_dtype("float32", CPU, parameters=10**12) == torch.float32


def test_small_models_are_computed_in_float32_on_every_cpu() -> None:
    assert compute_dtype("auto", CPU, LEAST_ON_CPU - 1) == torch.float32


def test_the_measured_gain_agrees_with_what_the_cpu_says_of_itself() -> None:
    assert (bfloat16_gain() >= LEAST_GAIN) == has_bfloat16_instructions()
    assert bfloat16_pays(CPU, LEAST_ON_CPU) == has_bfloat16_instructions()
