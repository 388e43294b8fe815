"""The engine against transformers' `generate` and against one full forward pass."""

from dataclasses import replace

import pytest
import torch

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Picture, Prompt, Rollout, Sampling
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.torch_engine.engine import TorchEngine

Results = dict[tuple[str, int], Rollout]
GREEDY = Sampling(think_budget=0, answer_budget=24, forced_exit=False)
RANDOM = Sampling(n=3, temperature=0.8, think_budget=16, answer_budget=6, seed=11)


def run(
    loaded: Loaded,
    prompts: list[Prompt],
    sampling: Sampling,
    max_rows: int = 4,
    check_every: int | None = None,
) -> Results:
    rollouts = list(TorchEngine(loaded, max_rows, check_every).generate(prompts, sampling))
    results = {(rollout.prompt_id, rollout.sample): rollout for rollout in rollouts}
    assert len(results) == len(rollouts) == len(prompts) * sampling.n
    return results


def model_inputs(loaded: Loaded, prompt: Prompt) -> dict[str, torch.Tensor]:
    encoded = encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
    ids = torch.tensor([encoded.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if encoded.pixel_values is not None:
        inputs["pixel_values"] = encoded.pixel_values
        inputs["image_grid_thw"] = encoded.image_grid_thw
        inputs["mm_token_type_ids"] = (ids == loaded.model.config.image_token_id).int()
    return inputs


def by_generate(loaded: Loaded, prompt: Prompt) -> list[int]:
    vocabulary = TorchEngine(loaded).special_tokens
    inputs = model_inputs(loaded, prompt)
    ids = loaded.model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=GREEDY.answer_budget,
        suppress_tokens=sorted(vocabulary.banned),
        eos_token_id=sorted(vocabulary.stops),
        pad_token_id=loaded.tokenizer.pad_token_id,
    )
    return ids[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.fixture(scope="module")
def generated(text_loaded: Loaded, text_prompts: list[Prompt]) -> dict[str, list[int]]:
    return {prompt.id: by_generate(text_loaded, prompt) for prompt in text_prompts}


@pytest.fixture(scope="module")
def generated_from_images(vlm_loaded: Loaded, mixed_prompts: list[Prompt]) -> dict[str, list[int]]:
    return {prompt.id: by_generate(vlm_loaded, prompt) for prompt in mixed_prompts}


@pytest.mark.parametrize("max_rows", [1, 4, 64])
def test_greedy_text_equals_generates(
    text_loaded: Loaded, text_prompts: list[Prompt], generated: dict[str, list[int]], max_rows: int
) -> None:
    results = run(text_loaded, text_prompts, GREEDY, max_rows)
    assert {prompt_id: list(rollout.token_ids) for (prompt_id, _), rollout in results.items()} == generated
    # The comparison means something only if texts differ and some end early.
    assert len({tuple(ids) for ids in generated.values()}) == len(text_prompts)
    assert len({len(ids) for ids in generated.values()}) > 1


@pytest.mark.parametrize("max_rows", [3, 64])
def test_greedy_text_about_images_equals_generates(
    vlm_loaded: Loaded,
    mixed_prompts: list[Prompt],
    generated_from_images: dict[str, list[int]],
    max_rows: int,
) -> None:
    results = run(vlm_loaded, mixed_prompts, GREEDY, max_rows)
    found = {prompt_id: list(rollout.token_ids) for (prompt_id, _), rollout in results.items()}
    assert found == generated_from_images
    assert len({tuple(ids) for ids in found.values()}) == len(mixed_prompts)


def test_the_cache_grows_with_long_texts(text_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    sampling = Sampling(n=2, temperature=1.0, think_budget=0, answer_budget=300, forced_exit=False, seed=1)
    results = run(text_loaded, text_prompts[:5], sampling, max_rows=4)
    longest = max(results.values(), key=lambda rollout: len(rollout.token_ids))
    assert len(longest.token_ids) > 150
    prompt = next(prompt for prompt in text_prompts if prompt.id == longest.prompt_id)
    banned = sorted(TorchEngine(text_loaded).special_tokens.banned)
    expected = full_pass_logprobs(text_loaded, prompt, longest, banned, 1.0)
    torch.testing.assert_close(torch.tensor(longest.logprobs), expected, atol=2e-4, rtol=1e-4)


def test_the_picture_changes_the_answer(vlm_loaded: Loaded, ask, draw_picture) -> None:
    prompts = [ask(f"{seed}", draw_picture(3, 2, seed), " w1") for seed in range(4)]
    results = run(vlm_loaded, prompts, GREEDY)
    assert len({rollout.token_ids for rollout in results.values()}) == 4


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_are_those_of_a_full_forward_pass(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt], temperature: float
) -> None:
    sampling = Sampling(n=2, temperature=temperature, think_budget=9, answer_budget=5)
    results = run(vlm_loaded, mixed_prompts, sampling)
    banned = sorted(TorchEngine(vlm_loaded).special_tokens.banned)
    for prompt in mixed_prompts:
        for sample in range(2):
            rollout = results[prompt.id, sample]
            expected = full_pass_logprobs(vlm_loaded, prompt, rollout, banned, temperature or 1.0)
            expected = expected * torch.tensor(rollout.by_policy)
            torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=2e-4, rtol=1e-4)


def full_pass_logprobs(
    loaded: Loaded, prompt: Prompt, rollout: Rollout, banned: list[int], temperature: float
) -> torch.Tensor:
    inputs = model_inputs(loaded, prompt)
    written = torch.tensor([rollout.token_ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], written], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        no_picture = torch.zeros_like(written, dtype=torch.int32)
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], no_picture], 1)
    with torch.no_grad():
        logits = loaded.model(**inputs).logits[0, -written.shape[1] - 1 : -1].float()
    logits[:, banned] = float("-inf")
    return (logits / temperature).log_softmax(-1).gather(-1, written.T)[:, 0]


def test_samples_do_not_depend_on_the_batch(vlm_loaded: Loaded, mixed_prompts: list[Prompt]) -> None:
    """Up to rounding: a draw within 1e-6 of the border between two tokens can fall on either side."""
    alone = run(vlm_loaded, mixed_prompts, RANDOM, max_rows=1)
    for max_rows, prompts in ((5, mixed_prompts), (64, mixed_prompts[::-1]), (2, mixed_prompts[3:6])):
        together = run(vlm_loaded, prompts, RANDOM, max_rows)
        for key, rollout in together.items():
            assert rollout.token_ids == alone[key].token_ids
            assert rollout.logprobs == pytest.approx(alone[key].logprobs, abs=2e-4)


@pytest.fixture(
    scope="module",
    params=[
        *(replace(RANDOM, think_budget=budget) for budget in (0, 3, 16)),
        replace(GREEDY, forced_exit=True),
    ],
    ids=["no thought", "3 tokens", "16 tokens", "greedy"],
)
def looked_at_each_step(
    request: pytest.FixtureRequest, vlm_loaded: Loaded, mixed_prompts: list[Prompt]
) -> tuple[Sampling, Results]:
    return request.param, run(vlm_loaded, mixed_prompts, request.param, check_every=1)


@pytest.mark.parametrize("check_every", [2, 5, 16])
def test_how_often_the_host_looks_changes_nothing(
    vlm_loaded: Loaded,
    mixed_prompts: list[Prompt],
    looked_at_each_step: tuple[Sampling, Results],
    check_every: int,
) -> None:
    """Rows go past their end, their budget and their forced exit, and are taken back."""
    sampling, expected = looked_at_each_step
    found = run(vlm_loaded, mixed_prompts, sampling, check_every=check_every)
    assert found.keys() == expected.keys()
    for key, rollout in expected.items():
        assert replace(found[key], logprobs=()) == replace(rollout, logprobs=())
        assert found[key].logprobs == pytest.approx(rollout.logprobs, abs=2e-4)


def test_samples_and_seeds_differ(text_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    first = run(text_loaded, text_prompts[:1], RANDOM)
    other = run(text_loaded, text_prompts[:1], Sampling(3, 0.8, 16, 6, seed=6))
    texts = [rollout.token_ids for results in (first, other) for rollout in results.values()]
    assert len(set(texts)) == 6


def test_a_group_larger_than_the_engine_is_complete(text_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    sampling = Sampling(n=7, temperature=1.0, think_budget=5, answer_budget=5)
    assert run(text_loaded, text_prompts[:2], sampling, max_rows=3).keys() == {
        (prompt.id, sample) for prompt in text_prompts[:2] for sample in range(7)
    }


def test_the_model_is_left_as_it_was(text_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    model = text_loaded.model.train()
    before = model.config._attn_implementation
    try:
        for rollout in TorchEngine(text_loaded, 2).generate(text_prompts[:3], RANDOM):
            # The caller may be a training loop.
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            assert model.config._attn_implementation == before
            assert rollout.text
        assert model.training
    finally:
        model.eval()


def test_no_prompts_no_rollouts(text_loaded: Loaded) -> None:
    assert list(TorchEngine(text_loaded).generate([], RANDOM)) == []


def test_an_engine_needs_a_row(text_loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="max_rows is 0"):
        TorchEngine(text_loaded, max_rows=0)


def test_an_invalid_prompt_fails_alone(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt], ask, draw_picture
) -> None:
    most = vlm_loaded.model.config.get_text_config().max_position_embeddings
    broken = {
        "no picture": (Picture(b""), " w1"),
        "cut off": (Picture(draw_picture(3, 2, 0).encoded[:60]), " w1"),
        "a line": (draw_picture(1, 300, 0), " w1"),
        "a placeholder": ("w1 <|image_pad|> w2",),
        "too long": ("w1 " * most,),
    }
    refused = [ask(name, *parts) for name, parts in broken.items()]
    results = run(vlm_loaded, [*refused[:3], mixed_prompts[0], *refused[3:], mixed_prompts[1]], RANDOM)
    assert {prompt_id for (prompt_id, _), rollout in results.items() if rollout.trouble} == set(broken)
    assert results["too long", 2].trouble.endswith(f"the model's limit is {most:,}")
    assert "an image cannot be read" in results["cut off", 0].trouble
    assert all(results[prompt.id, 1].text for prompt in mixed_prompts[:2])
    assert run(vlm_loaded, refused, GREEDY)["a line", 0].token_ids == ()


def beginnings(rollout: Rollout) -> list[tuple[int, ...]]:
    """Prefixes of an answer, from nothing to all of it."""
    whole = rollout.token_ids[: rollout.think_tokens] if rollout.forced_exit else rollout.token_ids
    return [whole[:length] for length in (0, 1, len(whole) // 2, len(whole))]


@pytest.mark.parametrize("budget", [0, 3, 7, 16])
def test_resuming_equals_generating_at_the_new_budget(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt], budget: int
) -> None:
    """Prefixes of long answers, resumed with a shorter budget, become what that budget alone gives."""
    engine, prompts = TorchEngine(vlm_loaded, 5), mixed_prompts[:4]
    shorter = replace(RANDOM, think_budget=budget)
    wanted = run(vlm_loaded, prompts, shorter)
    longest = run(vlm_loaded, prompts, RANDOM)
    assert any(one.forced_exit for one in wanted.values())
    by_id = {prompt.id: prompt for prompt in prompts}
    for cut in range(4):
        partials = [
            PartialRollout(by_id[key[0]], key[1], beginnings(one)[cut]) for key, one in longest.items()
        ]
        found = {(one.prompt_id, one.sample): one for one in engine.resume(partials, shorter)}
        for key, one in wanted.items():
            same = (found[key].token_ids, found[key].by_policy, found[key].stop, found[key].text)
            assert same == (one.token_ids, one.by_policy, one.stop, one.text)
            assert (found[key].forced_exit, found[key].think_tokens) == (one.forced_exit, one.think_tokens)
