"""Small random models of many architectures: packed training equals training one by one, or is not done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.train.test_sft import losses, settings, weights
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.chat.template import Example
from xreasoner.models.checkpoint import save_model
from xreasoner.models.packed_attention import packed_attention
from xreasoner.records import Problem
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.packing_check import check_packing
from xreasoner.train.rows import PackedReply, SharedPrompt, pack, pack_shared
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DELTA_NET: dict[str, Any] = {
    "head_dim": 8,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
WINDOW: dict[str, Any] = {"head_dim": 8, "sliding_window": 6}
EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
MAMBA: dict[str, Any] = {"mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}

PACKED: dict[str, dict[str, Any]] = {
    "Qwen2": {},
    "Mistral": {"sliding_window": 6},
    "Gemma3": {**WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "Gemma2": {**WINDOW, "attn_logit_softcapping": None, "final_logit_softcapping": 3.0},
    "Cohere2": {"sliding_window": 6, "logit_scale": 0.25},
    "Granite": {"logits_scaling": 4.0},
    "GptOss": {**WINDOW, **EXPERTS},
    "Qwen3_5": DELTA_NET,
    "Qwen3Next": {**DELTA_NET, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "Lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "FalconH1": {**MAMBA, "mamba_d_ssm": 32, "mamba_n_heads": 4, "lm_head_multiplier": 0.5},
    "Bamba": {**MAMBA, "mamba_n_heads": 8, "attn_layer_indices": [1, 3]},
}
UNPACKED: dict[str, dict[str, Any]] = {
    "Gemma2": {**WINDOW, "attn_logit_softcapping": 2.0},
    "MiniMax": {**EXPERTS, "head_dim": 8, "layer_types": ["linear_attention", "full_attention"] * 2},
}


IS_5_16 = transformers.__version__.startswith("5.16.")


def build(name: str, changes: dict[str, Any]) -> PreTrainedModel:
    if name == "FalconH1" and IS_5_16:
        pytest.skip("transformers 5.16 does not hand packed sequences to Falcon-H1's attention")
    return build_any(name, changes)


def build_any(name: str, changes: dict[str, Any]) -> PreTrainedModel:
    config_class = getattr(transformers, f"{name}TextConfig", None) or getattr(transformers, f"{name}Config")
    torch.manual_seed(0)
    lm: PreTrainedModel = getattr(transformers, f"{name}ForCausalLM")(config_class(**{**SMALL, **changes}))
    for parameter_name, parameter in lm.named_parameters():
        if parameter_name.endswith("sinks"):
            torch.nn.init.normal_(parameter)
    return lm.eval()


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    drawn = [torch.randint(3, 90, (length,), generator=generator).tolist() for length in (11, 17, 9)]
    return [Example(tuple(ids), (False,) * 4 + (True,) * (len(ids) - 4)) for ids in drawn]


def plain(lm: PreTrainedModel, example: Example) -> Tensor:
    ids_1T = torch.tensor([example.ids])
    logits_TV = lm(input_ids=ids_1T, use_cache=False).logits[0].float()
    nll_T = F.cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="none")
    return -nll_T[torch.tensor(example.is_target[1:])]


def gradients(lm: PreTrainedModel) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in lm.named_parameters() if p.grad is not None}
    lm.zero_grad()
    return found


@pytest.mark.parametrize("name", PACKED)
def test_packed_loss_and_gradients_are_those_of_transformers(name: str) -> None:
    lm = build(name, PACKED[name])
    loss = LanguageModelLoss(lm)
    assert check_packing(loss, torch.float32)
    expected_N = torch.cat([plain(lm, example) for example in examples()])
    (-expected_N.sum()).backward()
    expected = gradients(lm)
    with packed_attention(lm):
        found = loss(pack(examples(), CPU))
        found.loss.backward()
    torch.testing.assert_close(found.logprob_N, expected_N, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients(lm), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["GptOss", "Qwen3_5", "Lfm2", "FalconH1"])
def test_replies_continue_a_shared_prompt(name: str) -> None:
    lm = build(name, PACKED[name])
    prompt, *replies = (example.ids for example in examples())
    shared = SharedPrompt(
        prompt, tuple(PackedReply(ids, (True,) * len(ids), (0.0,) * len(ids), 0.0) for ids in replies)
    )
    repeated = [Example(prompt + ids, (False,) * len(prompt) + (True,) * len(ids)) for ids in replies]
    with torch.no_grad(), packed_attention(lm):
        found = LanguageModelLoss(lm)(pack_shared([shared], CPU)).logprob_N
    expected = torch.cat([plain(lm, example) for example in repeated])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", UNPACKED)
def test_what_would_be_wrong_packed_is_not_packed(name: str) -> None:
    loss = LanguageModelLoss(build(name, UNPACKED[name]))
    assert not check_packing(loss, torch.float32)


@pytest.mark.skipif(not IS_5_16, reason="newer versions of transformers hand the sequences on")
def test_a_version_that_cannot_pack_falcon_is_named() -> None:
    loss = LanguageModelLoss(build_any("FalconH1", PACKED["FalconH1"]))
    with pytest.raises(ValueError, match=r"transformers 5\.16.* FalconH1Attention.* a newer transformers"):
        check_packing(loss, torch.float32)


def test_attention_without_the_sequences_says_which_module_lacks_them() -> None:
    lm = build("Qwen2", {})
    with packed_attention(lm), pytest.raises(ValueError, match="packed sequences to Qwen2Attention"):
        lm(input_ids=torch.tensor([[1, 2]]), use_cache=False)


def test_a_model_with_a_head_of_its_own_is_refused() -> None:
    lm = build("Qwen2", {})
    lm.lm_head.register_forward_hook(lambda _module, _inputs, logits: 3 * logits)
    with pytest.raises(ValueError, match="a qwen2 model cannot be trained here"):
        check_packing(LanguageModelLoss(lm), torch.float32)


def test_an_unpacked_stage_trains_as_a_packed_one(
    new_lm: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    problems: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_model(new_lm(), tokenizer, tmp_path / "start")
    train_sft(settings(steps=3), tmp_path / "start", problems, tmp_path / "packed", 0, NoDisplay())
    monkeypatch.setattr("xreasoner.train.policy.check_packing", lambda *_: False)
    train_sft(settings(steps=3), tmp_path / "start", problems, tmp_path / "alone", 0, NoDisplay())
    assert losses(tmp_path / "alone") == pytest.approx(losses(tmp_path / "packed"), rel=1e-4)
    found, expected = weights(tmp_path / "alone" / "model"), weights(tmp_path / "packed" / "model")
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
