"""Requests that arrive while others run, each with its own sampling; slots that are ended from outside."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.special_tokens import read_special_tokens
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.rollout.torch_engine.slots import Request

GREEDY = Sampling(think_budget=9, answer_budget=5)
WARM = Sampling(n=3, temperature=0.8, think_budget=16, answer_budget=6, seed=11)
HOT = Sampling(n=2, temperature=1.5, think_budget=0, answer_budget=12, forced_exit=False, seed=4)
ENDLESS = Sampling(temperature=1.0, think_budget=0, answer_budget=90, forced_exit=False)
ROOM = 200


@pytest.fixture
def scheduler(vlm_loaded: Loaded) -> Scheduler:
    return Scheduler(vlm_loaded, read_special_tokens(vlm_loaded.model, vlm_loaded.tokenizer), 4, ROOM)


@pytest.fixture
def request_of(vlm_loaded: Loaded) -> Callable[[Prompt, Sampling], Request]:
    def build(prompt: Prompt, sampling: Sampling) -> Request:
        encode = partial(encode_prompt, prompt, vlm_loaded.tokenizer, vlm_loaded.image_processor)
        return Request(prompt.id, encode, sampling, range(sampling.n), prompt.id)

    return build


def run(scheduler: Scheduler) -> Iterator[Rollout]:
    while scheduler.has_unfinished:
        yield from scheduler.step()


def by_key(rollouts: Iterator[Rollout]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(rollout.prompt_id, rollout.sample): rollout.token_ids for rollout in rollouts}


def test_requests_that_join_later_are_answered_as_if_alone(
    vlm_loaded: Loaded,
    scheduler: Scheduler,
    request_of: Callable[[Prompt, Sampling], Request],
    mixed_prompts: list[Prompt],
) -> None:
    """Text and pictures; greedy and two temperatures in one step; three steps between arrivals."""
    settings = [(GREEDY, WARM, HOT)[i % 3] for i in range(len(mixed_prompts))]
    found: list[Rollout] = []
    for prompt, sampling in zip(mixed_prompts, settings, strict=True):
        scheduler.add([request_of(prompt, sampling)])
        for _ in range(3):
            found += scheduler.step() if scheduler.has_unfinished else []
    found += run(scheduler)
    expected: dict[tuple[str, int], tuple[int, ...]] = {}
    for prompt, sampling in zip(mixed_prompts, settings, strict=True):
        expected |= by_key(TorchEngine(vlm_loaded, 1).generate([prompt], sampling))
    assert by_key(iter(found)) == expected


def test_progress_reports_every_token(
    scheduler: Scheduler, request_of: Callable[[Prompt, Sampling], Request], text_prompts: list[Prompt]
) -> None:
    scheduler.add(request_of(prompt, WARM) for prompt in text_prompts[:3])
    tokens_seen: dict[tuple[str, int], list[int]] = {}
    finished: list[Rollout] = []
    while scheduler.has_unfinished:
        finished += scheduler.step()
        for slot, tokens, last_token in scheduler.progress():
            seen = tokens_seen.setdefault((slot.request.prompt_id, slot.sample), [])
            if len(seen) < tokens:
                seen.append(last_token)
            assert len(seen) == tokens
    # The last token of a row leaves with it.
    assert tokens_seen == {key: list(ids[:-1]) for key, ids in by_key(iter(finished)).items()}


def test_a_stopped_slot_returns_its_tokens(
    scheduler: Scheduler, request_of: Callable[[Prompt, Sampling], Request], text_prompts: list[Prompt]
) -> None:
    scheduler.add(request_of(prompt, ENDLESS) for prompt in text_prompts[:2])
    for _ in range(6):
        scheduler.step()
    first, second = scheduler.progress()
    (rollout,) = scheduler.stop([first.slot])
    assert (rollout.prompt_id, rollout.stop, len(rollout.token_ids)) == (
        first.slot.request.prompt_id,
        "length",
        first.tokens,
    )
    assert rollout.token_ids[-1] == first.last_token
    assert [row.slot for row in scheduler.progress()] == [second.slot]
    assert by_key(run(scheduler)).keys() == {(second.slot.request.prompt_id, 0)}


def test_an_aborted_request_leaves_its_slots_and_the_queue(
    scheduler: Scheduler, request_of: Callable[[Prompt, Sampling], Request], text_prompts: list[Prompt]
) -> None:
    scheduler.add(request_of(prompt, WARM) for prompt in text_prompts[:3])
    scheduler.step()
    scheduler.step()
    assert {row.slot.request.prompt_id for row in scheduler.progress()} == {"text 0"}
    scheduler.abort("text 0")
    scheduler.abort("text 2")
    assert scheduler.progress() == []
    assert by_key(run(scheduler)).keys() == {("text 1", sample) for sample in range(3)}
