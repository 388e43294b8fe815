"""Host memory worked out by hand, for a 7B model and its adapters."""

from dataclasses import replace

import pytest

from xreasoner.estimate.host_memory import BUFFER, host_memory, moments_on_cpu, weights_on_cpu
from xreasoner.estimate.memory import BFLOAT16, TrainingSetup
from xreasoner.estimate.model_shape import KNOWN
from xreasoner.models import tensor_files

EIGHT = TrainingSetup(KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"], compute=BFLOAT16, gpus=8)
PARAMETERS, EMBEDDING = 7_615_616_512, 152_064 * 3584


def test_a_rank_of_eight_by_hand() -> None:
    found = host_memory(EIGHT, BFLOAT16, in_background=True)
    assert found.save == PARAMETERS * 12 / 8  # 11.4 GB
    assert found.resume == EMBEDDING * 4 / 8  # 0.3 GB
    assert found.write_checkpoint == EMBEDDING * 2  # 1.1 GB
    assert found.load == BUFFER == tensor_files.BUFFER
    assert found.most == pytest.approx(1.5e9 + 11.423e9 + 1.09e9, rel=1e-3)


def test_each_step_that_is_sampled_ahead_holds_a_copy() -> None:
    waits, ahead = (host_memory(EIGHT, BFLOAT16, True, max_lag) for max_lag in (0, 2))
    assert ahead.most - waits.most == 3 * 2 * PARAMETERS


def test_without_the_background_no_copy_is_made() -> None:
    assert host_memory(EIGHT, BFLOAT16, in_background=False).save == EMBEDDING * 4 / 8


def test_on_a_cpu_the_model_is_host_memory_too() -> None:
    assert weights_on_cpu(EIGHT) == PARAMETERS * 4 / 8
    assert moments_on_cpu(EIGHT) == PARAMETERS * 8 / 8
    assert moments_on_cpu(replace(EIGHT, frozen_embeddings=True)) == PARAMETERS - 2 * EMBEDDING


def test_adapters_are_a_small_state() -> None:
    lora = replace(EIGHT, adapters=80_740_352)
    assert weights_on_cpu(lora) == (PARAMETERS * 2 + 80_740_352 * 4) / 8
    assert host_memory(lora, BFLOAT16, in_background=True).save == 80_740_352 * 12 / 8
