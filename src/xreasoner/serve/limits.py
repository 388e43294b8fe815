"""How long an answer may get: the request's limits, the server's defaults and the model's context."""

from dataclasses import dataclass
from random import getrandbits

from xreasoner.chat.think import THINK_CLOSE
from xreasoner.records import Sampling
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.request import ChatCompletionRequest


@dataclass(frozen=True)
class ServerLimits:
    context: int
    """Tokens of prompt and answer together."""
    exit_tokens: int
    think_budget: int
    answer_budget: int
    temperature: float
    """The default if a request sets none."""


@dataclass(frozen=True)
class RequestOptions:
    """How one request is answered."""

    sampling: Sampling
    max_tokens: int
    """A hard limit, whatever the budgets."""
    stops: tuple[str, ...]
    keeps_stop: bool


def resolve_options(body: ChatCompletionRequest, prompt_tokens: int, limits: ServerLimits) -> RequestOptions:
    room = limits.context - prompt_tokens
    limit = body.token_limit
    # If both budgets are set, the limit is only a ceiling and may exceed the context.
    if limit and body.think_budget is not None and body.answer_token_budget is not None:
        limit = max(1, min(limit, room))
    if room < 1 or (limit or 1) > room:
        raise ApiError(
            400,
            f"the prompt has {prompt_tokens:,} tokens and {limit or 1:,} more are requested, "
            f"but the context is {limits.context:,} tokens",
            "messages" if room < 1 else "max_tokens",
            "context_length_exceeded",
        )
    think, answer = _budgets(body, limit, limits)
    forced_exit = think is not None
    sampling = Sampling(
        n=body.n or 1,
        temperature=limits.temperature if body.temperature is None else body.temperature,
        think_budget=think or 0,
        answer_budget=answer,
        forced_exit=forced_exit,
        seed=getrandbits(63) if body.seed is None else body.seed,
        exit_without_thought=body.exit_without_thought,
    )
    longest = max_tokens(sampling, limits.exit_tokens) if forced_exit else answer
    return RequestOptions(sampling, min(room, limit or longest), body.stops, body.include_stop_str_in_output)


def _budgets(body: ChatCompletionRequest, limit: int | None, limits: ServerLimits) -> tuple[int | None, int]:
    """The thinking budget (None: no forced exit) and the answer's."""
    answer = body.answer_token_budget
    if answer is None:
        answer = limit or limits.answer_budget
    if body.think_budget is not None:
        return body.think_budget, answer
    # A client that stops at the tag or continues half an answer enforces the budgets itself.
    if body.continue_final_message or THINK_CLOSE in body.stops:
        return None, limit or limits.think_budget + limits.answer_budget
    return limits.think_budget, answer
