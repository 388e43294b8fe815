"""vLLM against the torch engine, which is itself tested against transformers."""

import random
from dataclasses import asdict, replace

import pytest
import torch
from scipy.stats import chisquare
from tests.vllm.conftest import ROWS

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.engine import Engine, PartialRollout
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.engine import VllmEngine

Results = dict[tuple[str, int], Rollout]
BUDGETS = {
    "nothing to think": Sampling(think_budget=0, answer_budget=5),
    "one token": Sampling(think_budget=1, answer_budget=5),
    "a few": Sampling(think_budget=7, answer_budget=9),
    "no answer": Sampling(think_budget=4, answer_budget=0),
    "beyond the natural end": Sampling(think_budget=150, answer_budget=40),
    "no exit without a thought": Sampling(think_budget=7, answer_budget=9, exit_without_thought=False),
    "one limit": Sampling(think_budget=5, answer_budget=20, forced_exit=False),
}
BY_BUDGET = pytest.mark.parametrize("sampling", BUDGETS.values(), ids=BUDGETS)


def run(engine: Engine, prompts: list[Prompt], sampling: Sampling) -> Results:
    rollouts = list(engine.generate(prompts, sampling))
    results = {(rollout.prompt_id, rollout.sample): rollout for rollout in rollouts}
    assert len(results) == len(rollouts) == len(prompts) * sampling.n
    return results


def assert_same(found: Results, expected: Results) -> None:
    assert found.keys() == expected.keys()
    for key, rollout in expected.items():
        assert asdict(found[key]) | {"logprobs": ()} == asdict(rollout) | {"logprobs": ()}
        assert found[key].logprobs == pytest.approx(rollout.logprobs, abs=2e-4)


@BY_BUDGET
def test_greedy_text_equals_the_torch_engines(
    lm_vllm: VllmEngine, lm_torch: TorchEngine, text_prompts: list[Prompt], sampling: Sampling
) -> None:
    """Token by token, with what was injected and what was not; every thought is open from the start."""
    assert_same(run(lm_vllm, text_prompts, sampling), run(lm_torch, text_prompts, sampling))


@BY_BUDGET
def test_greedy_text_about_images_equals_the_torch_engines(
    vlm_vllm: VllmEngine, vlm_torch: TorchEngine, pictured_prompts: list[Prompt], sampling: Sampling
) -> None:
    found = run(vlm_vllm, pictured_prompts, sampling)
    assert_same(found, run(vlm_torch, pictured_prompts, sampling))
    # The comparison means something only if texts differ.
    if sampling.answer_budget > 1:
        assert len({rollout.token_ids for rollout in found.values()}) > len(found) // 2


@pytest.mark.parametrize("budget", [0, 1, 6])
def test_a_thought_never_exceeds_its_budget(
    lm_vllm: VllmEngine, text_prompts: list[Prompt], budget: int
) -> None:
    """The injected text follows at once with mask 0, and then the answer."""
    sampling = Sampling(n=20, temperature=1.0, think_budget=budget, answer_budget=3, seed=budget)
    injected = lm_vllm.decoder.special_tokens.exits.closing_thought
    after = budget + len(injected)
    forced = [r for r in run(lm_vllm, text_prompts, sampling).values() if r.forced_exit]
    assert len(forced) > 100
    for rollout in forced:
        assert rollout.think_tokens == budget
        assert rollout.token_ids[budget:after] == injected
        assert rollout.by_policy == (1,) * budget + (0,) * len(injected) + (1,) * (
            len(rollout.token_ids) - after
        )
        assert set(rollout.logprobs[budget:after]) == {0.0}
        assert 1 <= len(rollout.token_ids) - after <= 3


def full_pass_logprobs(
    loaded: Loaded, rollout: Rollout, banned: list[int], temperature: float
) -> torch.Tensor:
    written = torch.tensor(rollout.token_ids)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])).logits[0]
    logits = logits[len(rollout.prompt_ids) - 1 : -1].float()
    logits[:, banned] = float("-inf")
    return (logits / temperature).log_softmax(-1).gather(-1, written[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logprobs_are_those_of_the_distribution_sampled_from(
    lm_vllm: VllmEngine, lm_loaded: Loaded, text_prompts: list[Prompt], temperature: float
) -> None:
    sampling = Sampling(n=3, temperature=temperature, think_budget=9, answer_budget=5)
    banned = sorted(lm_vllm.decoder.special_tokens.banned)
    for rollout in run(lm_vllm, text_prompts, sampling).values():
        expected = full_pass_logprobs(lm_loaded, rollout, banned, temperature)
        expected = expected * torch.tensor(rollout.by_policy)
        torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=2e-4, rtol=1e-4)


def test_samples_are_distributed_as_the_model_says(
    lm_vllm: VllmEngine, lm_torch: TorchEngine, lm_loaded: Loaded, text_prompts: list[Prompt]
) -> None:
    """Both engines against the exact probabilities of the first token, 4,000 draws each, at temperature 1."""
    banned = sorted(lm_vllm.decoder.special_tokens.banned)
    exact = {p.id: first_token(lm_loaded, p, banned) for p in text_prompts}
    prompt = max(text_prompts, key=lambda p: -torch.special.xlogy(exact[p.id], exact[p.id]).sum())
    probability, count = exact[prompt.id], 4000
    sampling = Sampling(count, 1.0, think_budget=1, answer_budget=0, forced_exit=False, seed=9)
    likely = probability * count >= 8
    assert likely.sum() > 10
    expected = torch.tensor([*probability[likely], probability[~likely].sum()]) * count
    for engine in (lm_vllm, lm_torch):
        drawn = torch.tensor([rollout.token_ids[0] for rollout in engine.generate([prompt], sampling)])
        counted = torch.bincount(drawn, minlength=len(probability)).double()
        assert counted[banned].sum() == 0
        observed = torch.tensor([*counted[likely], counted[~likely].sum()])
        assert chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3


def first_token(loaded: Loaded, prompt: Prompt, banned: list[int]) -> torch.Tensor:
    ids = encode_prompt(prompt, loaded.tokenizer, None).ids
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids])).logits[0, -1].double()
    logits[banned] = float("-inf")
    return logits.softmax(-1)


def test_seeds_repeat_and_differ(lm_vllm: VllmEngine, text_prompts: list[Prompt]) -> None:
    sampling = Sampling(n=2, temperature=1.0, think_budget=12, answer_budget=6, seed=5)
    alone, together = run(lm_vllm, text_prompts[:1], sampling), run(lm_vllm, text_prompts, sampling)
    other = run(lm_vllm, text_prompts[:1], replace(sampling, seed=6))
    assert all(together[key].token_ids == rollout.token_ids for key, rollout in alone.items())
    assert len({rollout.token_ids for results in (alone, other) for rollout in results.values()}) == 4


def test_many_long_prompts_are_sampled_as_each_alone(lm_vllm: VllmEngine, ask) -> None:
    """Without chunked prefill: with it, a seeded request must undo a draw, which crashes vLLM on a CPU."""
    digits = random.Random(0).choices("0123456789", k=50 * ROWS)
    prompts = [ask(f"long {i}", " + ".join(digits[50 * i : 50 * (i + 1)])) for i in range(ROWS)]
    sampling = Sampling(temperature=1.0, think_budget=4, answer_budget=2, seed=3)
    together, alone = run(lm_vllm, prompts, sampling), run(lm_vllm, prompts[-3:], sampling)
    assert sum(len(rollout.prompt_ids) for rollout in together.values()) > 2 * 2048
    assert all(together[key].token_ids == rollout.token_ids for key, rollout in alone.items())


def test_an_answer_can_be_resumed(lm_vllm: VllmEngine, text_prompts: list[Prompt]) -> None:
    """With a larger budget, greedy text continues as if it had not stopped; with a smaller one it is cut."""
    long, short = Sampling(think_budget=20, answer_budget=8), Sampling(think_budget=6, answer_budget=8)
    whole = run(lm_vllm, text_prompts, long)
    partials = [PartialRollout(prompt, 0, whole[prompt.id, 0].token_ids[:10]) for prompt in text_prompts]
    assert_tokens(lm_vllm, partials, long, whole)
    assert_tokens(lm_vllm, partials, short, run(lm_vllm, text_prompts, short))


def assert_tokens(
    engine: VllmEngine, partials: list[PartialRollout], sampling: Sampling, expected: Results
) -> None:
    resumed = {rollout.prompt_id: rollout for rollout in engine.resume(partials, sampling)}
    assert {i: r.token_ids for i, r in resumed.items()} == {i: r.token_ids for (i, _), r in expected.items()}


def test_an_abandoned_call_leaves_nothing_behind(lm_vllm: VllmEngine, text_prompts: list[Prompt]) -> None:
    sampling = Sampling(think_budget=5, answer_budget=3)
    next(iter(lm_vllm.generate(text_prompts, sampling)))
    assert run(lm_vllm, text_prompts[:2], sampling).keys() == {(p.id, 0) for p in text_prompts[:2]}


def test_a_prompt_beyond_the_context_fails_alone(lm_vllm: VllmEngine, ask, text_prompts) -> None:
    too_long = ask("endless", "1 + " * 2000)
    results = run(lm_vllm, [too_long, text_prompts[0]], Sampling(think_budget=3, answer_budget=2))
    assert "limit is 700" in results["endless", 0].trouble
    assert not results[text_prompts[0].id, 0].trouble
