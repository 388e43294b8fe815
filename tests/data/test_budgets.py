"""Suggested budgets, worked out by hand. tests/cli asks a real tiny model."""

import pytest
from tests.evals.scripted import rollout

from xreasoner.data.budgets import ReplyLengths, budgets_for, count_tokens, quantile, suggestion
from xreasoner.records import Rollout


def reply(thought: int, whole: int, stop: str = "eos", trouble: str = "") -> Rollout:
    facts = {"token_ids": (1,) * whole, "think_tokens": thought, "stop": stop, "trouble": trouble}
    return Rollout(**vars(rollout("p", 0, "")) | facts)


def test_quantiles() -> None:
    assert [quantile(range(1, 21), share) for share in (0.05, 0.5, 0.95, 1.0)] == [1, 10, 19, 20]
    assert quantile([7], 0.95) == 7


def test_a_reply_without_an_answer_of_its_own_counts_as_a_thought() -> None:
    found = count_tokens([reply(10, 14), reply(0, 30), reply(50, 50, "length")])
    assert found == ReplyLengths((10, 30, 50), (4,), 1)


def test_budgets() -> None:
    """95% of 1..100 is 95, with a quarter more 118.75, in steps of 64 that is 128. Answers: 20, 30, 32."""
    assert budgets_for(ReplyLengths(tuple(range(1, 101)), (20,) * 100, 0)) == (128, 32)
    assert budgets_for(ReplyLengths((0,), (), 0)) == (64, 16)


def test_replies_that_do_not_end_are_named() -> None:
    found = suggestion("rl", ReplyLengths((10, 20, 512), (4, 4), 1), 512)
    assert found.startswith(
        "1 of 3 replies did not end within 512 tokens. With a forced exit, rl.think_budget=640"
    )
    ended = suggestion("rl", ReplyLengths((10,) * 20, (4,) * 20, 1), 512)
    assert ended.startswith("rl.think_budget=64 rl.answer_budget=16: 95% of 20 replies end within these")


def test_if_no_question_can_be_asked_the_cause_is_named() -> None:
    with pytest.raises(ValueError, match="no question could be asked: the prompt is too long"):
        count_tokens([reply(1, 1, trouble="the prompt is too long")])
