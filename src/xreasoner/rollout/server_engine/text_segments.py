"""Forced exit from the client: stop at the thinking budget, then ask the server to continue the text.

This is `rollout/segments.py` for servers that return text instead of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xreasoner.chat.think import ANSWER_EXIT, ANSWER_OPEN, FORCED_EXIT, THINK_CLOSE, THINK_OPEN
from xreasoner.records import Sampling, Stop
from xreasoner.rollout.forced_exit import TAIL_TOKENS
from xreasoner.rollout.server_engine.chat_protocol import Completion


class ContinueText(Protocol):
    def __call__(self, text: str, tokens: int, stops: Sequence[str]) -> Completion:
        """Generate at most `tokens` tokens after `text`, ending before the first stop string."""
        ...


@dataclass(frozen=True)
class SegmentedText:
    text: str
    stop: Stop
    forced_exit: bool
    think_tokens: int


def generate_in_segments(continue_text: ContinueText, sampling: Sampling) -> SegmentedText:
    """Follows the rules of `rollout/forced_exit.py`, usually with two requests."""
    budget = sampling.think_budget
    first = continue_text("", budget, [THINK_CLOSE]) if budget else Completion(cut=True)
    text = _first_text(first)
    is_open = THINK_OPEN in text and THINK_CLOSE not in text
    # The last token is the tag or the end of turn. Only the server knows if a tag has several tokens.
    before_last = first.reasoning_tokens or max(first.completion_tokens - 1, 0)
    if _closed(first, text, is_open):
        return _answer(continue_text, _with_close(text), sampling, forced=False, think_tokens=before_last)
    if is_open and first.cut:
        return _answer(continue_text, text + FORCED_EXIT, sampling, forced=True, think_tokens=budget)
    if not first.cut:
        return SegmentedText(text, "eos", False, before_last if is_open else 0)
    if sampling.exit_without_thought and sampling.answer_budget and ANSWER_OPEN not in text:
        return _open_answer(continue_text, text, first.completion_tokens, sampling)
    return _continue_without_thought(continue_text, text, first.completion_tokens, sampling)


def _open_answer(continue_text: ContinueText, text: str, tokens: int, sampling: Sampling) -> SegmentedText:
    """No thought was opened, so the answer is, unless the text so far may be the beginning of `<think>`."""
    for _ in range(TAIL_TOKENS):
        if not THINK_OPEN.startswith(text.strip()):
            break
        more = continue_text(text, 1, [THINK_OPEN])
        tokens, text = tokens + more.completion_tokens, text + (more.thought or "") + more.reply
        if more.stopped_at == THINK_OPEN or THINK_OPEN in text:
            opened = text if THINK_OPEN in text else text + THINK_OPEN
            return _answer(continue_text, opened + FORCED_EXIT, sampling, forced=True, think_tokens=tokens)
        if not more.cut:
            return SegmentedText(text, "eos", False, 0)
    return _answer(continue_text, text + ANSWER_EXIT, sampling, forced=True, think_tokens=0)


def _continue_without_thought(
    continue_text: ContinueText, text: str, tokens: int, sampling: Sampling
) -> SegmentedText:
    """No thought was opened, so both budgets together are one limit, until a thought does open."""
    if not sampling.answer_budget:
        return SegmentedText(text, "length", False, 0)
    more = continue_text(text, sampling.answer_budget, [THINK_OPEN, THINK_CLOSE])
    tokens, text = tokens + more.completion_tokens, text + (more.thought or "") + more.reply
    if more.stopped_at == THINK_OPEN:
        opened = text + THINK_OPEN + FORCED_EXIT
        return _answer(continue_text, opened, sampling, forced=True, think_tokens=tokens)
    if more.stopped_at == THINK_CLOSE:
        before_close = max(tokens - 1, 0)
        return _answer(continue_text, text + THINK_CLOSE, sampling, forced=False, think_tokens=before_close)
    return SegmentedText(text, "length" if more.cut else "eos", False, 0)


def _answer(
    continue_text: ContinueText, text: str, sampling: Sampling, forced: bool, think_tokens: int
) -> SegmentedText:
    if not sampling.answer_budget:
        return SegmentedText(text, "length", forced, think_tokens)
    answer = continue_text(text, sampling.answer_budget, [])
    # A server's reasoning parser may split an answer that begins in the middle of a turn; join it again.
    whole = text + (answer.thought or "") + answer.reply
    return SegmentedText(whole, "length" if answer.cut else "eos", forced, think_tokens)


def _first_text(first: Completion) -> str:
    # An empty thought without a reply is an open thought; with a reply it means that there was no thought.
    if first.thought or (first.thought is not None and not first.reply):
        return f"{THINK_OPEN}{first.thought}{first.reply}"
    text = first.reply.strip()
    # Cut within the opening tag: drop it, so that the next request generates the whole tag.
    return "" if first.cut and text != THINK_OPEN and THINK_OPEN.startswith(text) else first.reply


def _closed(first: Completion, text: str, is_open: bool) -> bool:
    if THINK_CLOSE in text or first.stopped_at == THINK_CLOSE:
        return True
    # If the server does not say which stop string ended it, then within a thought it was the closing tag.
    tells = "stop_reason" in first.extra or "matched_stop" in first.extra
    return is_open and not first.cut and not tells


def _with_close(text: str) -> str:
    return text if THINK_CLOSE in text else text + THINK_CLOSE
