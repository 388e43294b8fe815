"""MFU against published figures, and by hand."""

from collections.abc import Callable

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

from xreasoner.models.gpu_speed import PEAKS, gpu_in
from xreasoner.parallel import World
from xreasoner.train.speed import Utilisation, utilisation


def test_by_hand() -> None:
    used = Utilisation(matrices=100, attention=8, passes=3, peak=1e6)
    # Forward: 2 * 100 * (3 + 5) for the matrices, 2 * 8 * (9 + 25) for the attention.
    assert used.forward([3, 5]) == 1600 + 544
    assert used.of([3, 5], seconds=0.1) == {"mfu": pytest.approx(3 * 2144 / 0.1 / 1e6)}


def test_nothing_is_said_where_the_peak_is_unknown() -> None:
    assert Utilisation(100, 8, 3, peak=None).of([3, 5], 0.1) == {}


def test_a_published_run_of_lora_comes_to_the_published_mfu() -> None:
    """NeMo Automodel: Qwen2.5-7B, LoRA, rows of 4,096 tokens, 14,110 tokens/s on one H100: 43%."""
    entries = 7_615_616_512 - 152_064 * 3584  # without the input embeddings
    used = Utilisation(entries, attention=28 * 3584, passes=2, peak=PEAKS["H100"])
    assert used.of([4096], 4096 / 14_110)["mfu"] == pytest.approx(0.43, abs=0.02)


def test_the_matrices_of_a_model(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm, world = new_lm(), World(0, 1, torch.device("cpu"))
    count = sum(parameter.numel() for parameter in lm.parameters())
    used = utilisation(lm, is_frozen=False, world=world)
    assert (used.matrices, used.attention, used.passes) == (count, 2 * 32, 3)  # its head is its embeddings
    assert used.peak is None


def test_of_the_experts_those_count_that_a_token_meets() -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 4}
    lm = Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **experts, num_key_value_heads=1, head_dim=8))
    used = utilisation(lm, is_frozen=False, world=World(0, 1, torch.device("cpu")))
    per_expert = 3 * 16 * 4
    assert used.matrices == lm.num_parameters() - 50 * 16 - 2 * 6 * per_expert


def test_a_model_without_attention_has_only_matrices() -> None:
    config = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    used = utilisation(MambaForCausalLM(config), is_frozen=True, world=World(0, 1, torch.device("cpu")))
    assert (used.attention, used.passes) == (0, 2)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("NVIDIA RTX A6000", "A6000"),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_a_gpu_is_known_by_the_name_that_its_driver_gives(device: str, name: str | None) -> None:
    assert gpu_in(device) == name
