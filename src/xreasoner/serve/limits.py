"""How long an answer may get: what the request asks, what the server was told, what the model can hold."""

from dataclasses import dataclass
from random import getrandbits

from xreasoner.chat.think import THINK_CLOSE
from xreasoner.records import Sampling
from xreasoner.rollout.budget import most_tokens
from xreasoner.serve.body import ChatBody
from xreasoner.serve.refusal import RefusalError


@dataclass(frozen=True)
class Limits:
    """Of one server."""

    context: int
    """Tokens of prompt and answer together."""
    exit_tokens: int
    think_budget: int
    answer_budget: int
    temperature: float
    """Where the request does not say."""


@dataclass(frozen=True)
class Wanted:
    """How one request is to be answered."""

    sampling: Sampling
    most: int
    """A row is cut after so many tokens, whatever its budgets."""
    stops: tuple[str, ...]
    keeps_stop: bool


def plan(body: ChatBody, prompt_tokens: int, limits: Limits) -> Wanted:
    room = limits.context - prompt_tokens
    asked = body.most_tokens
    # Beside both budgets a limit is only a ceiling, and may hang higher than the model reaches.
    if asked and body.think_budget is not None and body.answer_token_budget is not None:
        asked = max(1, min(asked, room))
    if room < 1 or (asked or 1) > room:
        raise RefusalError(
            400,
            f"the prompt has {prompt_tokens:,} tokens and {asked or 1:,} are to follow: "
            f"the model holds {limits.context:,} in all",
            "messages" if room < 1 else "max_tokens",
            "context_length_exceeded",
        )
    think, answer = _budgets(body, asked, limits)
    forced_exit = think is not None
    sampling = Sampling(
        n=body.n or 1,
        temperature=limits.temperature if body.temperature is None else body.temperature,
        think_budget=think or 0,
        answer_budget=answer,
        forced_exit=forced_exit,
        seed=getrandbits(63) if body.seed is None else body.seed,
    )
    longest = most_tokens(sampling, limits.exit_tokens) if forced_exit else answer
    return Wanted(sampling, min(room, asked or longest), body.stops, body.include_stop_str_in_output)


def _budgets(body: ChatBody, asked: int | None, limits: Limits) -> tuple[int | None, int]:
    """For the thought (None: it is not closed by force) and for the answer."""
    answer = body.answer_token_budget
    if answer is None:
        answer = asked or limits.answer_budget
    if body.think_budget is not None:
        return body.think_budget, answer
    # Who stops at the tag or goes on from half an answer keeps the budgets himself.
    if body.continue_final_message or THINK_CLOSE in body.stops:
        return None, asked or limits.think_budget + limits.answer_budget
    return limits.think_budget, answer
