"""Sequences that continue a shared prompt, against each sequence alone."""

from collections.abc import Sequence
from unittest.mock import create_autospec

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models import packed_attention as module
from xreasoner.models.packed_attention import packed_attention
from xreasoner.models.packed_sequences import PackedSequences
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import PackedReply, SharedPrompt, pack, pack_shared

CPU = torch.device("cpu")


def small_lm(window: int | None) -> PreTrainedModel:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
        initializer_range=0.2,
    )
    return MistralForCausalLM(config)


def shared_prompts() -> list[SharedPrompt]:
    generator = torch.Generator().manual_seed(3)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 90, (count,), generator=generator).tolist())

    def reply(count: int) -> PackedReply:
        return PackedReply(tokens(count), tuple(i % 3 != 1 for i in range(count)), (0.0,) * count, 0.0)

    return [
        SharedPrompt(tokens(9), tuple(reply(n) for n in (12, 5, 1))),
        SharedPrompt(tokens(4), (reply(8),)),
        SharedPrompt(tokens(15), (reply(2), reply(7))),
    ]


def repeated(groups: Sequence[SharedPrompt]) -> list[Example]:
    return [
        Example(shared.prompt + reply.ids, (False,) * len(shared.prompt) + reply.is_target)
        for shared in groups
        for reply in shared.replies
    ]


@pytest.mark.parametrize("window", [None, 6])
def test_sharing_a_prompt_changes_nothing(window: int | None) -> None:
    lm = small_lm(window)
    loss = LanguageModelLoss(lm)
    gradients, logprobs = [], []
    with packed_attention(lm):
        for row in (pack_shared(shared_prompts(), CPU), pack(repeated(shared_prompts()), CPU)):
            weight_N = torch.linspace(-1, 1, row.targets)
            found = loss(row, lambda logprob_N, at, weight_N=weight_N: weight_N[at] * logprob_N)
            found.loss.backward()
            logprobs.append(found.logprob_N)
            gradients.append([p.grad.clone() for p in lm.parameters() if p.grad is not None])
            lm.zero_grad()
    torch.testing.assert_close(*logprobs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_the_kernel_for_gpus_takes_our_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature differs from torch to torch, and no CPU can run it."""
    kernel = create_autospec(module.varlen_attn, return_value=torch.zeros(9, 4, 8))
    monkeypatch.setattr(module, "varlen_attn", kernel)
    query_1HTD, key_1KTD = torch.zeros(1, 4, 9, 8), torch.zeros(1, 2, 9, 8)
    sequences = PackedSequences.of([3, 2, 4], CPU, [None, 0, 0])
    module._varlen(query_1HTD, key_1KTD, key_1KTD, sequences, None, 6)
    query_bounds, key_bounds, longest_query, longest_key = kernel.call_args.args[3:]
    assert query_bounds.tolist() == [0, 3, 5, 9] and key_bounds.tolist() == [0, 3, 8, 15]
    assert (longest_query, longest_key) == (4, 7)
    assert kernel.call_args.kwargs["window_size"] == (5, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("window", [None, 6])
def test_the_kernel_for_gpus_agrees_in_bfloat16(window: int | None) -> None:
    lm, device = small_lm(window), torch.device("cuda")
    with packed_attention(lm):
        expected = LanguageModelLoss(lm)(pack_shared(shared_prompts(), CPU)).logprob_N
        lm.to(device)
        with torch.autocast("cuda", torch.bfloat16):
            found = LanguageModelLoss(lm)(pack_shared(shared_prompts(), device)).logprob_N
    torch.testing.assert_close(found.cpu(), expected, rtol=0.05, atol=0.2)
