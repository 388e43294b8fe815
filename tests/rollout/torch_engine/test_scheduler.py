"""Groups that come while others run, each with its own sampling; rows that are ended from outside."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Batch
from xreasoner.rollout.torch_engine.slots import Group
from xreasoner.rollout.vocabulary import read_vocabulary

GREEDY = Sampling(think_budget=9, answer_budget=5)
WARM = Sampling(n=3, temperature=0.8, think_budget=16, answer_budget=6, seed=11)
HOT = Sampling(n=2, temperature=1.5, think_budget=0, answer_budget=12, forced_exit=False, seed=4)
ENDLESS = Sampling(temperature=1.0, think_budget=0, answer_budget=90, forced_exit=False)
ROOM = 200


@pytest.fixture
def batch(vlm_loaded: Loaded) -> Batch:
    return Batch(vlm_loaded, read_vocabulary(vlm_loaded.model, vlm_loaded.tokenizer), 4, ROOM)


@pytest.fixture
def group(vlm_loaded: Loaded) -> Callable[[Prompt, Sampling], Group]:
    def grouped(prompt: Prompt, sampling: Sampling) -> Group:
        encode = partial(encode_prompt, prompt, vlm_loaded.tokenizer, vlm_loaded.image_processor)
        return Group(prompt.id, encode, sampling, range(sampling.n), prompt.id)

    return grouped


def run(batch: Batch) -> Iterator[Rollout]:
    while batch.unfinished:
        yield from batch.advance()


def by_key(rollouts: Iterator[Rollout]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(rollout.prompt_id, rollout.sample): rollout.token_ids for rollout in rollouts}


def test_groups_that_come_later_are_answered_as_if_alone(
    vlm_loaded: Loaded,
    batch: Batch,
    group: Callable[[Prompt, Sampling], Group],
    mixed_prompts: list[Prompt],
) -> None:
    """Text and pictures; greedy and two temperatures in one step; three steps between arrivals."""
    settings = [(GREEDY, WARM, HOT)[i % 3] for i in range(len(mixed_prompts))]
    found: list[Rollout] = []
    for prompt, sampling in zip(mixed_prompts, settings, strict=True):
        batch.admit([group(prompt, sampling)])
        for _ in range(3):
            found += batch.advance() if batch.unfinished else []
    found += run(batch)
    expected: dict[tuple[str, int], tuple[int, ...]] = {}
    for prompt, sampling in zip(mixed_prompts, settings, strict=True):
        expected |= by_key(TorchEngine(vlm_loaded, 1).generate([prompt], sampling))
    assert by_key(iter(found)) == expected


def test_what_is_written_can_be_followed_token_by_token(
    batch: Batch, group: Callable[[Prompt, Sampling], Group], text_prompts: list[Prompt]
) -> None:
    batch.admit(group(prompt, WARM) for prompt in text_prompts[:3])
    followed: dict[tuple[str, int], list[int]] = {}
    finished: list[Rollout] = []
    while batch.unfinished:
        finished += batch.advance()
        for seat, tokens, newest in batch.written():
            heard = followed.setdefault((seat.group.prompt_id, seat.sample), [])
            if len(heard) < tokens:
                heard.append(newest)
            assert len(heard) == tokens
    # The last token of a row leaves with it.
    assert followed == {key: list(ids[:-1]) for key, ids in by_key(iter(finished)).items()}


def test_a_row_that_is_cut_leaves_what_it_wrote(
    batch: Batch, group: Callable[[Prompt, Sampling], Group], text_prompts: list[Prompt]
) -> None:
    batch.admit(group(prompt, ENDLESS) for prompt in text_prompts[:2])
    for _ in range(6):
        batch.advance()
    first, second = batch.written()
    (rollout,) = batch.cut([first.seat])
    assert (rollout.prompt_id, rollout.stop, len(rollout.token_ids)) == (
        first.seat.group.prompt_id,
        "length",
        first.tokens,
    )
    assert rollout.token_ids[-1] == first.newest
    assert [row.seat for row in batch.written()] == [second.seat]
    assert by_key(run(batch)).keys() == {(second.seat.group.prompt_id, 0)}


def test_who_is_dismissed_leaves_seat_and_queue(
    batch: Batch, group: Callable[[Prompt, Sampling], Group], text_prompts: list[Prompt]
) -> None:
    batch.admit(group(prompt, WARM) for prompt in text_prompts[:3])
    batch.advance()
    batch.advance()
    assert {row.seat.group.prompt_id for row in batch.written()} == {"text 0"}
    batch.dismiss("text 0")
    batch.dismiss("text 2")
    assert batch.written() == []
    assert by_key(run(batch)).keys() == {("text 1", sample) for sample in range(3)}
