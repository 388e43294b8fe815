"""Thought and answer as servers send them: apart, piece by piece, and not a character lost."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN

Begins = Literal["anywhere", "in thought", "in answer"]
"""What the prompt left to be written: a whole turn, the rest of an open thought, or an answer."""


class Apart(NamedTuple):
    """`<think>` + reasoning + `</think>` + content is the text, where both tags were written."""

    reasoning: str
    content: str
    thinks: bool = False
    """A thought was opened, if only to be empty."""


def begins(written: str) -> Begins:
    """After a turn that was begun for the model."""
    if THINK_CLOSE in written:
        return "in answer"
    return "in thought" if THINK_OPEN in written else "anywhere"


def take_apart(text: str, start: Begins = "anywhere") -> Apart:
    """A text that does not begin with a thought is all answer."""
    if start == "in answer":
        return Apart("", text)
    if start == "anywhere":
        if not text.lstrip().startswith(THINK_OPEN):
            return Apart("", text)
        text = text.partition(THINK_OPEN)[2]
    reasoning, _, content = text.partition(THINK_CLOSE)
    return Apart(reasoning, content, True)


def settled(text: str, stops: Sequence[str] = ()) -> str:
    """The text without an end that may yet become a tag or a stop string."""
    held = max(_overlap(text, mark) for mark in (THINK_OPEN, THINK_CLOSE, *stops))
    return text[: len(text) - held]


def _overlap(text: str, mark: str) -> int:
    """How much of the mark's beginning the text ends with."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)


class Stream:
    """The pieces of one growing text, each sent once it cannot change any more."""

    def __init__(self, start: Begins, stops: Sequence[str] = ()) -> None:
        self._start, self._stops = start, stops
        self._sent = Apart("", "")

    def grow(self, text: str, is_whole: bool = False) -> Apart:
        """What is new in the text so far."""
        stable = text if is_whole else settled(text, self._stops)
        now = take_apart(stable, self._start)
        if not is_whole and self._start == "anywhere" and not stable.strip():
            return Apart("", "")  # spaces before a thought are dropped, before an answer they are not
        sent, self._sent = self._sent, now
        return Apart(now.reasoning[len(sent.reasoning) :], now.content[len(sent.content) :], now.thinks)
