"""The packed loss against the plain one: lone sequences, full logits, torch's cross entropy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GemmaConfig, GemmaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models.packed_attention import packed_attention
from xreasoner.train import loss
from xreasoner.train.loss import Head, LanguageModelLoss, target_loss
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
        return -LanguageModelLoss(lm)(pack(examples, CPU)).logprob_N


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
        (LanguageModelLoss(lm)(row).loss / row.targets).backward()
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


# --- against torch's cross entropy in float64 ------------------------------------------------------------


HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biased": {"has_bias": True},
    "scaled": {"scale": 0.25},
    "capped": {"softcap": 3.0},
    "all": {"has_bias": True, "scale": 0.5, "softcap": 3.0, "temperature": 0.7},
}


def random_head(scale: float, softcap: float | None, has_bias: bool, dtype: torch.dtype) -> Head:
    generator = torch.Generator().manual_seed(5)
    weight_VE = torch.randn(97, 16, generator=generator, dtype=torch.float64)
    bias_V = torch.randn(97, generator=generator, dtype=torch.float64) if has_bias else None
    return Head(
        weight_VE.to(dtype).requires_grad_(),
        None if bias_V is None else bias_V.to(dtype).requires_grad_(),
        scale,
        softcap,
    )


def plain_logprobs(
    hidden_NE: Tensor, head: Head, target_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies from full logits, in float64."""
    logits_NV = hidden_NE @ head.weight_VE.T
    logits_NV = logits_NV if head.bias_V is None else logits_NV + head.bias_V
    logits_NV = logits_NV * head.scale
    if head.softcap is not None:
        logits_NV = head.softcap * torch.tanh(logits_NV / head.softcap)
    spread_NV = torch.distributions.Categorical(logits=logits_NV / temperature)
    return spread_NV.log_prob(target_N), spread_NV.entropy()


def tensors_of(hidden_NE: Tensor, head: Head) -> list[Tensor]:
    return [hidden_NE, head.weight_VE, *([] if head.bias_V is None else [head.bias_V])]


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_logprobs_entropy_and_gradients_equal_float64(
    case: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chunks of seven rows: the last one is shorter.
    monkeypatch.setattr(loss, "LEAST_ROWS", 7)
    monkeypatch.setattr(loss, "CHUNK_BYTES", {"cpu": 1})
    chosen: dict[str, Any] = {"scale": 1.0, "softcap": None, "has_bias": False, "temperature": 1.0} | HEADS[
        case
    ]
    temperature = chosen.pop("temperature")
    generator = torch.Generator().manual_seed(tokens)
    hidden_NE = torch.randn(tokens, 16, generator=generator, dtype=torch.float64)
    target_N = torch.randint(97, (tokens,), generator=generator)
    weight_N = torch.randn(tokens, generator=generator, dtype=torch.float64)

    exact = hidden_NE.clone().requires_grad_()
    head = random_head(**chosen, dtype=torch.float64)
    logprob_N, entropy_N = plain_logprobs(exact, head, target_N, temperature)
    expected = (weight_N * logprob_N.exp()).sum()
    gradients = torch.autograd.grad(expected * 3, tensors_of(exact, head))

    ours = hidden_NE.float().requires_grad_()
    head = random_head(**chosen, dtype=torch.float32)
    found = target_loss(
        ours,
        head,
        target_N,
        lambda lp_C, at: weight_N[at].float() * lp_C.exp(),
        temperature,
        with_entropy=True,
    )
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(found.loss, expected, **close)
    torch.testing.assert_close(found.logprob_N, logprob_N, **close)
    torch.testing.assert_close(found.entropy_N, entropy_N, **close)
    for mine, theirs in zip(
        torch.autograd.grad(found.loss * 3, tensors_of(ours, head)), gradients, strict=True
    ):
        torch.testing.assert_close(mine, theirs, **close)


def test_at_a_real_vocabulary_it_is_as_exact_as_float32_products_allow() -> None:
    generator = torch.Generator().manual_seed(1)
    exact = torch.randn(40, 8, generator=generator, dtype=torch.float64).requires_grad_()
    weight_VE = torch.randn(151_936, 8, generator=generator, dtype=torch.float64).requires_grad_()
    target_N = torch.randint(151_936, (40,), generator=generator)
    expected = F.cross_entropy(exact @ weight_VE.T, target_N, reduction="sum")
    hidden, weight = torch.autograd.grad(expected / 40, [exact, weight_VE])

    hidden_NE, head = (
        exact.detach().float().requires_grad_(),
        Head(weight_VE.detach().float().requires_grad_()),
    )
    found = target_loss(hidden_NE, head, target_N).loss
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    mine = torch.autograd.grad(found / 40, [hidden_NE, head.weight_VE])
    torch.testing.assert_close(mine[1].double(), weight, rtol=0, atol=1e-6 * weight.abs().max().item())
    # A float32 product that sums over the vocabulary; of plain float32 cross-entropy as well.
    torch.testing.assert_close(mine[0].double(), hidden, rtol=0, atol=5e-4 * hidden.abs().max().item())


def test_a_target_of_almost_no_probability_has_a_finite_loss() -> None:
    head = Head(torch.tensor([[1.0], [-1.0], [0.0]]))
    hidden_NE = torch.tensor([[300.0]], requires_grad=True)
    found = target_loss(hidden_NE, head, torch.tensor([1]), with_entropy=True)
    found.loss.backward()
    # The odds are 1 : exp(-600) : exp(-300), so the loss is 600 and its slope -(-1 - 1).
    assert found.loss.item() == 600 and found.entropy_N is not None and found.entropy_N.item() == 0
    assert hidden_NE.grad is not None and hidden_NE.grad.item() == 2


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden_NE = torch.randn(4, 16, requires_grad=True)
    head = random_head(1.0, None, False, torch.float32)
    head.weight_VE.requires_grad_(False)
    target_loss(hidden_NE, head, torch.arange(4)).loss.backward()
    assert head.weight_VE.grad is None and hidden_NE.grad is not None


@pytest.mark.parametrize("is_frozen", [True, False])
def test_in_bfloat16_only_the_products_are_rounded(is_frozen: bool) -> None:
    """Log-probabilities and their sum are float32, of logits that were rounded once."""
    generator = torch.Generator().manual_seed(3)
    hidden_NE = torch.randn(50, 16, generator=generator).bfloat16().requires_grad_()
    head = random_head(1.0, None, False, torch.float32 if is_frozen else torch.bfloat16)
    head.weight_VE.requires_grad_(not is_frozen)
    target_N = torch.randint(97, (50,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = target_loss(hidden_NE, head, target_N)
    rounded_VE = head.weight_VE.detach().bfloat16()
    rounded = (hidden_NE.detach() @ rounded_VE.T).float().log_softmax(-1).gather(1, target_N[:, None])[:, 0]
    assert found.logprob_N.dtype == found.loss.dtype == torch.float32
    torch.testing.assert_close(found.logprob_N, rounded, rtol=1e-6, atol=1e-6)
    (found.loss / 7).backward()
    assert hidden_NE.grad is not None and hidden_NE.grad.dtype == torch.bfloat16
    exact = [hidden_NE.detach().double().requires_grad_(), rounded_VE.double().requires_grad_()]
    (plain_logprobs(exact[0], Head(exact[1]), target_N, 1.0)[0].sum() / 7).backward()
    close: dict[str, Any] = {"rtol": 0.05, "atol": 0.01, "check_dtype": False}
    torch.testing.assert_close(-hidden_NE.grad, exact[0].grad, **close)
    if not is_frozen:
        assert head.weight_VE.grad is not None and exact[1].grad is not None
        torch.testing.assert_close(-head.weight_VE.grad, exact[1].grad, **close)
