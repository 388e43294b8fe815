"""Questions asked twice in a corpus: the first one is kept."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xreasoner.data.candidates import Candidate, flattened
from xreasoner.data.similar import BANDS, SAME, bands, likeness, shingles
from xreasoner.data.words import numbers, whole, words_of
from xreasoner.records import Problem

COMPARED = 8
"""In a crowd of lookalikes each is compared with so many before it."""


def asked_text(problem: Problem) -> str:
    return f"{flattened(problem.question)} {flattened(problem.choices)}"


class ExactDuplicates:
    """The same words in the same order; case, punctuation and layout do not count."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}

    def check(self, candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
        return [self._check(candidate.problem) for candidate in candidates]

    def _check(self, problem: Problem) -> tuple[str, str]:
        words = words_of(asked_text(problem))
        # Without any words ("2 + 2 = ?" has some, "∫" too) there is nothing to go by.
        key = whole(words.hashes) if len(words) else hash(asked_text(problem))
        first = self._first.setdefault(key, problem.id)
        return ("", "") if first == problem.id else ("duplicate question", f"as {first}")


class NearDuplicates:
    """Most of three words in a row in common, and the same numbers in the same order.

    Questions are noted while the corpus streams past, a few numbers each, and compared at its end.
    """

    def __init__(self) -> None:
        self._bands: list[NDArray[np.uint64]] = []
        self._numbers: list[int] = []

    def note(self, problem: Problem) -> None:
        words = words_of(asked_text(problem))
        self._bands.append(bands(shingles(words.hashes)))
        self._numbers.append(numbers(words))

    def find(self, read: Callable[[int], Problem]) -> dict[int, int]:
        """By place of a problem, the place of the earlier one that it nearly repeats."""
        if not self._bands:
            return {}
        copies: dict[int, int] = {}
        other_numbers = np.array(self._numbers, np.uint64)
        for keys in np.stack(self._bands, axis=1)[:BANDS]:
            for crowd in crowds(keys ^ other_numbers):
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
    """Places with equal keys, each group in order."""
    order = np.argsort(keys, kind="stable")
    borders = np.flatnonzero(np.diff(keys[order])) + 1
    for group in np.split(order, borders):
        if len(group) > 1:
            yield group.tolist()
