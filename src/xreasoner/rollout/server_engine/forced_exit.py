"""Forced exit from outside: stop where the budget ends, and ask the server to continue what it wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xreasoner.chat.think import FORCED_EXIT, THINK_CLOSE, THINK_OPEN
from xreasoner.records import Sampling, Stop
from xreasoner.rollout.server_engine.wire import Said


class Ask(Protocol):
    def __call__(self, written: str, tokens: int, stops: Sequence[str]) -> Said:
        """At most so many tokens after what is written, ending before the first of the stop strings."""
        ...


@dataclass(frozen=True)
class Answered:
    text: str
    stop: Stop
    forced_exit: bool
    think_tokens: int


def answer_in_legs(ask: Ask, sampling: Sampling) -> Answered:
    """The course of `budget.py`, in two requests, or three where the thought is opened late."""
    said = ask("", sampling.think_budget, [THINK_CLOSE]) if sampling.think_budget else Said(cut=True)
    text = _first_text(said)
    is_open = THINK_OPEN in text and THINK_CLOSE not in text
    # The last one is the tag or the end of the turn; of a tag in several tokens only the server can tell.
    before_last = said.reasoning_tokens or max(said.completion_tokens - 1, 0)
    if _closed(said, text, is_open):
        return _answer(ask, _with_close(text), sampling, forced=False, think_tokens=before_last)
    if is_open and said.cut:
        return _answer(ask, text + FORCED_EXIT, sampling, forced=True, think_tokens=sampling.think_budget)
    if not said.cut:
        return Answered(text, "eos", False, before_last if is_open else 0)
    return _go_on_unopened(ask, text, said.completion_tokens, sampling)


def _go_on_unopened(ask: Ask, text: str, tokens: int, sampling: Sampling) -> Answered:
    """Nothing was opened, so there is nothing to close: the two budgets are one limit, until it is."""
    if not sampling.answer_budget:
        return Answered(text, "length", False, 0)
    said = ask(text, sampling.answer_budget, [THINK_OPEN, THINK_CLOSE])
    tokens, text = tokens + said.completion_tokens, text + (said.thought or "") + said.reply
    if said.stopped_at == THINK_OPEN:
        opened = text + THINK_OPEN + FORCED_EXIT
        return _answer(ask, opened, sampling, forced=True, think_tokens=tokens)
    if said.stopped_at == THINK_CLOSE:
        return _answer(ask, text + THINK_CLOSE, sampling, forced=False, think_tokens=max(tokens - 1, 0))
    return Answered(text, "length" if said.cut else "eos", False, 0)


def _answer(ask: Ask, text: str, sampling: Sampling, forced: bool, think_tokens: int) -> Answered:
    if not sampling.answer_budget:
        return Answered(text, "length", forced, think_tokens)
    said = ask(text, sampling.answer_budget, [])
    # Whatever a server's parser makes of an answer that begins in the middle, it is one text.
    whole = text + (said.thought or "") + said.reply
    return Answered(whole, "length" if said.cut else "eos", forced, think_tokens)


def _first_text(said: Said) -> str:
    # A thought that is empty so far is one; a server that calls every missing thought empty has a reply.
    if said.thought or (said.thought is not None and not said.reply):
        return f"{THINK_OPEN}{said.thought}{said.reply}"
    written = said.reply.strip()
    # Cut within the tag itself: written once more, it is met as a whole.
    return "" if said.cut and written != THINK_OPEN and THINK_OPEN.startswith(written) else said.reply


def _closed(said: Said, text: str, is_open: bool) -> bool:
    if THINK_CLOSE in text or said.stopped_at == THINK_CLOSE:
        return True
    # Servers that do not tell which stop string they met: within a thought it was the tag.
    tells = "stop_reason" in said.extra or "matched_stop" in said.extra
    return is_open and not said.cut and not tells


def _with_close(text: str) -> str:
    return text if THINK_CLOSE in text else text + THINK_CLOSE
