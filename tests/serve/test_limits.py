"""Budgets, limits and the context, worked out by hand."""

from typing import Any

import pytest

from xreasoner.serve.api_error import ApiError
from xreasoner.serve.limits import RequestOptions, ServerLimits, resolve_options
from xreasoner.serve.request import ChatCompletionRequest

LIMITS = ServerLimits(context=1000, exit_tokens=3, think_budget=100, answer_budget=20, temperature=0.25)


def options(prompt_tokens: int = 50, **fields: Any) -> RequestOptions:
    body = ChatCompletionRequest.model_validate({"messages": [{"role": "user", "content": "?"}]} | fields)
    return resolve_options(body, prompt_tokens, LIMITS)


def budgets(found: RequestOptions) -> tuple[int, int, bool, int]:
    sampling = found.sampling
    return sampling.think_budget, sampling.answer_budget, sampling.forced_exit, found.max_tokens


def test_the_servers_own_budgets() -> None:
    # A thought opened with the last of 120 tokens: the exit, and again 20 for the answer, and its end.
    assert budgets(options()) == (100, 20, True, 100 + 2 * 20 + 3 + 1)
    assert options().sampling.temperature == 0.25
    assert options(temperature=0.0).sampling.temperature == 0.0


def test_a_limit_ends_the_answer_a_budget_the_thought() -> None:
    assert budgets(options(max_tokens=30)) == (100, 30, True, 30)
    assert budgets(options(thinking_token_budget=0)) == (0, 20, True, 44)
    assert budgets(options(thinking_token_budget=7, max_tokens=30)) == (7, 30, True, 30)
    assert budgets(options(thinking_token_budget=7, answer_token_budget=5)) == (7, 5, True, 21)


def test_a_client_that_ends_the_thought_itself_gets_no_forced_exit() -> None:
    assert budgets(options(stop=["</think>"], max_tokens=12)) == (0, 12, False, 12)
    begun = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "<think>"}]
    assert budgets(options(messages=begun, continue_final_message=True)) == (0, 120, False, 120)
    # Unless it also sets a budget.
    assert budgets(options(stop=["</think>"], thinking_token_budget=4, max_tokens=12)) == (4, 12, True, 12)


def test_answers_end_at_the_context() -> None:
    assert options(prompt_tokens=990).max_tokens == 10
    assert options(prompt_tokens=990, max_tokens=10).max_tokens == 10
    both = {"thinking_token_budget": 4000, "answer_token_budget": 500}
    assert options(prompt_tokens=990, max_tokens=5000, **both).max_tokens == 10
    for prompt_tokens, fields in (
        (1000, both),
        (990, {"max_tokens": 11}),
        (1000, {}),
        (5000, {"max_tokens": 1}),
    ):
        with pytest.raises(ApiError, match="the context is 1,000 tokens") as caught:
            options(prompt_tokens=prompt_tokens, **fields)
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_without_a_seed_every_request_differs() -> None:
    assert options().sampling.seed != options().sampling.seed
    assert options(seed=-5).sampling.seed == -5
