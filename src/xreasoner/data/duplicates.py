"""Duplicate questions in a corpus: the first one is kept."""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xreasoner.data.candidates import Candidate, flattened
from xreasoner.data.similar import BANDS, SAME, bands, likeness, shingles
from xreasoner.data.words import numbers, whole, words_of
from xreasoner.records import Problem

_SIXTY_FOUR_BITS = (1 << 64) - 1
COMPARED = 8
"""In a large group of similar questions, each is compared with this many earlier ones."""

_SIGNS = re.compile(r"[+*/^=<>×÷·±≤≥≠]|[-−](?=\s*(?:[\d\\({$]|[a-z]\b))")
"""Arithmetic signs, not hyphens: 5 + 3 and 5 - 3 are different questions."""


def signs(text: str) -> int:
    return hash("".join(_SIGNS.findall(text)).replace("−", "-")) & _SIXTY_FOUR_BITS


def asked_text(problem: Problem) -> str:
    return f"{flattened(problem.question)} {flattened(problem.choices)}"


class ExactDuplicates:
    """The same words in the same order, regardless of case, punctuation and layout."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}

    def check(self, candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
        return [self._check(candidate.problem) for candidate in candidates]

    def _check(self, problem: Problem) -> tuple[str, str]:
        text = asked_text(problem)
        words = words_of(text)
        # A text may have no words at all.
        key = whole(words.hashes) ^ signs(text) if len(words) else hash(text)
        first = self._first.setdefault(key, problem.id)
        return ("", "") if first == problem.id else ("duplicate question", f"as {first}")


class NearDuplicates:
    """Most word 3-grams in common, and the same numbers and signs in the same order.

    Each question is stored as 17 numbers while the corpus streams by; they are compared at the end.
    """

    def __init__(self) -> None:
        self._bands, self._figures = array("Q"), array("Q")

    def note(self, problem: Problem) -> None:
        text = asked_text(problem)
        words = words_of(text)
        self._bands.frombytes(bands(shingles(words.hashes)).tobytes())
        self._figures.append(numbers(words) ^ signs(text))

    def find(self, read: Callable[[int], Problem]) -> dict[int, int]:
        """Maps the index of each near copy to the index of the earlier question."""
        copies: dict[int, int] = {}
        figures_N = np.array(self._figures, np.uint64)
        bands_NB = np.array(self._bands, np.uint64).reshape(-1, BANDS)
        for keys in bands_NB.T:
            for crowd in crowds(keys ^ figures_N):
                self._compare(crowd, copies, read)
        return copies

    def _compare(self, crowd: list[int], copies: dict[int, int], read: Callable[[int], Problem]) -> None:
        kept: list[int] = []
        texts = {
            place: shingles(words_of(asked_text(read(place))).hashes) for place in crowd[: COMPARED * 64]
        }
        for place in texts:
            if place in copies:
                continue
            same = next((k for k in kept[:COMPARED] if likeness(texts[k], texts[place]) >= SAME), None)
            if same is None:
                kept.append(place)
            else:
                copies[place] = same


def crowds(keys: NDArray[np.uint64]) -> Iterator[list[int]]:
    """Groups of indices with equal keys, each in order."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    ends = np.append(starts[1:], len(keys))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        yield order[start:end].tolist()
