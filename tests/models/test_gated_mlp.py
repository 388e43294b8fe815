"""Recomputed products of gated MLPs: the same loss and gradients, and less that is kept."""

import gc
import weakref

import pytest
import torch
from peft import inject_adapter_in_model
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import Qwen2Config, Qwen2ForCausalLM

from xreasoner.models.gated_mlp import recomputed_products
from xreasoner.recipe.schema import Lora
from xreasoner.train.adapters import peft_config

IDS_1T = torch.randint(3, 60, (1, 33), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def lm() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return Qwen2ForCausalLM(config)


def gradients(lm: Qwen2ForCausalLM) -> dict[str, Tensor]:
    lm(input_ids=IDS_1T, labels=IDS_1T).loss.backward()
    found = {name: p.grad for name, p in lm.named_parameters() if p.grad is not None}
    lm.zero_grad()
    return found


def kept_bytes(lm: Qwen2ForCausalLM) -> int:
    weights = {p.data_ptr() for p in lm.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = lm.base_model(input_ids=IDS_1T, use_cache=False).last_hidden_state
    del hidden
    return sum(kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adapted", [False, True])
def test_gradients_are_the_same(lm: Qwen2ForCausalLM, dtype: torch.dtype, adapted: bool) -> None:
    if adapted:
        lm.requires_grad_(False)
        inject_adapter_in_model(peft_config(Lora(rank=4)), lm)
        for name, parameter in lm.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = gradients(lm)
        with recomputed_products(lm):
            found = gradients(lm)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_each_layer_keeps_two_tensors_less(lm: Qwen2ForCausalLM) -> None:
    before = kept_bytes(lm)
    with recomputed_products(lm):
        saved = before - kept_bytes(lm)
    assert saved == 2 * lm.config.num_hidden_layers * IDS_1T.numel() * lm.config.intermediate_size * 4


def test_under_gradient_checkpointing_nothing_changes(lm: Qwen2ForCausalLM) -> None:
    lm.gradient_checkpointing_enable({"use_reentrant": False})
    before = kept_bytes(lm)
    with recomputed_products(lm):
        assert kept_bytes(lm) == before


def test_the_product_is_freed_before_the_backward_pass(lm: Qwen2ForCausalLM) -> None:
    products: list[weakref.ref[Tensor]] = []
    down = lm.model.layers[0].mlp.down_proj
    assert isinstance(down, nn.Linear)
    down.register_forward_pre_hook(lambda _, args: products.append(weakref.ref(args[0])))
    with recomputed_products(lm):
        loss = lm(input_ids=IDS_1T, labels=IDS_1T).loss
        gc.collect()
        assert len(products) == 1 and products[0]() is None
        loss.backward()
