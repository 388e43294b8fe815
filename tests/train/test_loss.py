"""The packed loss against the plain one: lone sequences, full logits, torch's cross entropy."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GemmaConfig, GemmaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models.packed_attention import packed_attention
from xreasoner.train.loss import NegativeLogLikelihood
from xreasoner.train.rows import pack

CPU = torch.device("cpu")


def random_examples(*lengths: int, prompt: int = 3) -> list[Example]:
    generator = torch.Generator().manual_seed(7)
    return [
        Example(
            tuple(torch.randint(3, 90, (length,), generator=generator).tolist()),
            tuple(position >= prompt for position in range(length)),
        )
        for length in lengths
    ]


def plain_nll(lm: PreTrainedModel, example: Example) -> Tensor:
    """Full logits of the sequence alone, under transformers' own attention."""
    ids_T = torch.tensor(example.ids)
    logits_TV = lm(input_ids=ids_T[None], use_cache=False).logits[0].float()
    nll_T = F.cross_entropy(logits_TV[:-1], ids_T[1:], reduction="none")
    return nll_T[torch.tensor(example.is_target[1:])]


def packed_nll(lm: PreTrainedModel, examples: list[Example]) -> Tensor:
    with packed_attention(lm):
        return NegativeLogLikelihood(lm)(pack(examples, CPU))


def gradients(lm: PreTrainedModel) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in lm.named_parameters() if p.grad is not None}


def mistral_with_a_window() -> PreTrainedModel:
    torch.manual_seed(0)
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=100,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=6,
            initializer_range=0.2,
        )
    )


def gemma() -> PreTrainedModel:
    torch.manual_seed(0)
    return GemmaForCausalLM(
        GemmaConfig(
            vocab_size=100,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=8,
            initializer_range=0.2,
        )
    )


def test_a_packed_sequence_is_as_if_alone(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm, examples = new_lm(), random_examples(9, 21, 5, 13, 9)
    alone = torch.cat([plain_nll(lm, example) for example in examples])
    torch.testing.assert_close(packed_nll(lm, examples), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [mistral_with_a_window, gemma])
def test_other_families_too(build: Callable[[], PreTrainedModel]) -> None:
    lm, examples = build(), random_examples(9, 21, 5, 13)
    alone = torch.cat([plain_nll(lm, example) for example in examples])
    torch.testing.assert_close(packed_nll(lm, examples), alone, rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_full_logits(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm, examples = new_lm(), random_examples(9, 21, 5)
    torch.cat([plain_nll(lm, example) for example in examples]).mean().backward()
    expected = gradients(lm)
    lm.zero_grad()
    with packed_attention(lm):
        row = pack(examples, CPU)
        (NegativeLogLikelihood(lm)(row, reduction="sum") / row.targets).backward()
    torch.testing.assert_close(gradients(lm), expected, rtol=1e-4, atol=1e-6)


def test_only_target_tokens_count(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm, (example,) = new_lm(), random_examples(12, prompt=5)
    assert packed_nll(lm, [example]).shape == (7,)
    # The last token is a target but predicts nothing; changing what it is moves only its own loss.
    changed = Example((*example.ids[:-1], 3), example.is_target)
    before, after = packed_nll(lm, [example]), packed_nll(lm, [changed])
    torch.testing.assert_close(before[:-1], after[:-1])
    assert not torch.isclose(before[-1], after[-1])


def test_the_attention_is_given_back(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm = new_lm()
    before = lm.config._attn_implementation
    with pytest.raises(RuntimeError), packed_attention(lm):
        raise RuntimeError
    assert lm.config._attn_implementation == before != "packed"


def test_capped_logits_are_refused(new_lm: Callable[..., PreTrainedModel]) -> None:
    lm = new_lm()
    lm.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="caps its logits"):
        NegativeLogLikelihood(lm)
