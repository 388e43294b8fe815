"""Budgets, limits and what the model holds, worked out by hand."""

from typing import Any

import pytest

from xreasoner.serve.body import ChatBody
from xreasoner.serve.limits import Limits, Wanted, plan
from xreasoner.serve.refusal import RefusalError

LIMITS = Limits(context=1000, exit_tokens=3, think_budget=100, answer_budget=20, temperature=0.25)


def wanted(prompt_tokens: int = 50, **fields: Any) -> Wanted:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "?"}]} | fields)
    return plan(body, prompt_tokens, LIMITS)


def budgets(found: Wanted) -> tuple[int, int, bool, int]:
    sampling = found.sampling
    return sampling.think_budget, sampling.answer_budget, sampling.forced_exit, found.most


def test_the_servers_own_budgets() -> None:
    # A thought opened with the last of 120 tokens: the exit, and again 20 for the answer, and its end.
    assert budgets(wanted()) == (100, 20, True, 100 + 2 * 20 + 3 + 1)
    assert wanted().sampling.temperature == 0.25
    assert wanted(temperature=0.0).sampling.temperature == 0.0


def test_a_limit_ends_everything_a_budget_the_thought() -> None:
    assert budgets(wanted(max_tokens=30)) == (100, 30, True, 30)
    assert budgets(wanted(thinking_token_budget=0)) == (0, 20, True, 44)
    assert budgets(wanted(thinking_token_budget=7, max_tokens=30)) == (7, 30, True, 30)
    assert budgets(wanted(thinking_token_budget=7, answer_token_budget=5)) == (7, 5, True, 21)


def test_who_ends_the_thought_himself_is_left_alone() -> None:
    assert budgets(wanted(stop=["</think>"], max_tokens=12)) == (0, 12, False, 12)
    begun = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "<think>"}]
    assert budgets(wanted(messages=begun, continue_final_message=True)) == (0, 120, False, 120)
    # Unless the server is asked to.
    assert budgets(wanted(stop=["</think>"], thinking_token_budget=4, max_tokens=12)) == (4, 12, True, 12)


def test_answers_end_where_the_model_does() -> None:
    assert wanted(prompt_tokens=990).most == 10
    assert wanted(prompt_tokens=990, max_tokens=10).most == 10
    both = {"thinking_token_budget": 4000, "answer_token_budget": 500}
    assert wanted(prompt_tokens=990, max_tokens=5000, **both).most == 10
    for prompt_tokens, fields in (
        (1000, both),
        (990, {"max_tokens": 11}),
        (1000, {}),
        (5000, {"max_tokens": 1}),
    ):
        with pytest.raises(RefusalError, match="the model holds 1,000 in all") as caught:
            wanted(prompt_tokens=prompt_tokens, **fields)
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_without_a_seed_no_two_requests_are_the_same() -> None:
    assert wanted().sampling.seed != wanted().sampling.seed
    assert wanted(seed=-5).sampling.seed == -5
