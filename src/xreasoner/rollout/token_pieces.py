"""Which characters of a rollout's text each of its tokens became, so that a reader can colour them."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from xreasoner.records import Rollout

DecodeIds = Callable[[list[int]], str | list[str]]
"""A tokenizer's; of one list it makes one text."""
_INCOMPLETE = "\ufffd"
_MOST_PENDING = 8
"""Tokens of one character; more are not one."""


class TokenPieces:
    """Decodes each token of the vocabulary once."""

    def __init__(self, decode: DecodeIds) -> None:
        self._decode = decode
        self._known: dict[tuple[int, ...], str] = {}

    def lengths(self, token_ids: Sequence[int], text: str) -> list[int] | None:
        """Characters of each token; None if the tokens are not this text."""
        lengths, position, pending = list[int](), 0, list[int]()
        for token in token_ids:
            pending.append(token)
            piece = self._piece(pending)
            if piece.endswith(_INCOMPLETE) and len(pending) < _MOST_PENDING:
                lengths.append(0)  # the token that completes the character has all of it
                continue
            pending.clear()
            end = end_of(piece, text, position)
            if end is None:
                return None
            lengths.append(end - position)
            position = end
        return lengths

    def _piece(self, token_ids: list[int]) -> str:
        key = tuple(token_ids)
        if key not in self._known:
            self._known[key] = str(self._decode(token_ids))
        return self._known[key]


def end_of(piece: str, text: str, position: int) -> int | None:
    """Where a token's piece ends in a text; None if it does not stand at this position.

    Some tokenizers put spaces between tokens, or leave out those of a single token. The token that ends
    the turn is not in the text.
    """
    if text.startswith(piece, position):
        return position + len(piece)
    rest = text[position:].lstrip()
    if rest.startswith(piece.strip()):
        return len(text) - len(rest) + len(piece.strip())
    return None if rest else len(text)


class SampledTokens(TypedDict):
    chars: list[int]
    logprobs: list[float | None]


def sampled_tokens(rollout: Rollout, pieces: TokenPieces) -> SampledTokens | None:
    """Length and log-probability of each token, None where it was injected."""
    chars = pieces.lengths(rollout.token_ids, rollout.text)
    if chars is None:
        return None
    logprobs = [
        round(logprob, 3) if chosen else None
        for logprob, chosen in zip(rollout.logprobs, rollout.by_policy, strict=True)
    ]
    return {"chars": chars, "logprobs": logprobs}
