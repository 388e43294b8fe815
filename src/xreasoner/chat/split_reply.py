"""Splits a reply into thought and answer, whole or as it streams, without losing a character.

For a stripped thought and answer, see `think.split_thought`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN

ReplyStart = Literal["turn", "in thought", "in answer"]
"""Where the prompt leaves off: before a whole turn, within an open thought, or within the answer."""


class SplitReply(NamedTuple):
    """If both tags were generated, `<think>` + reasoning + `</think>` + content is the whole text."""

    reasoning: str
    content: str
    has_thought: bool = False
    """A thought was opened, even if it is empty."""


def reply_start(prefix: str) -> ReplyStart:
    """After a prefix of the model's turn."""
    if THINK_CLOSE in prefix:
        return "in answer"
    return "in thought" if THINK_OPEN in prefix else "turn"


def split_reply(text: str, start: ReplyStart = "turn") -> SplitReply:
    """A turn that does not begin with a thought is all answer."""
    if start == "in answer":
        return SplitReply("", text)
    if start == "turn":
        if not text.lstrip().startswith(THINK_OPEN):
            return SplitReply("", text)
        text = text.partition(THINK_OPEN)[2]
    reasoning, _, content = text.partition(THINK_CLOSE)
    return SplitReply(reasoning, content, True)


def stable_prefix(text: str, stops: Sequence[str] = ()) -> str:
    """The text without an end that may still become a tag or a stop string."""
    held_back = max(_overlap(text, mark) for mark in (THINK_OPEN, THINK_CLOSE, *stops))
    return text[: len(text) - held_back]


def _overlap(text: str, mark: str) -> int:
    """The length of the longest prefix of `mark` that the text ends with."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)


class ReplyStream:
    """Splits a growing text; each character is returned once, when it can no longer change its meaning."""

    def __init__(self, start: ReplyStart, stops: Sequence[str] = ()) -> None:
        self._start, self._stops = start, stops
        self._sent = SplitReply("", "")

    def update(self, text: str, is_whole: bool = False) -> SplitReply:
        """What is new in the text so far."""
        stable = text if is_whole else stable_prefix(text, self._stops)
        now = split_reply(stable, self._start)
        if not is_whole and self._start == "turn" and not stable.strip():
            return SplitReply("", "")  # white space is dropped before a thought, but kept before an answer
        sent, self._sent = self._sent, now
        return SplitReply(
            now.reasoning[len(sent.reasoning) :], now.content[len(sent.content) :], now.has_thought
        )
