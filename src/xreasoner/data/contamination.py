"""Decontamination: find training problems that contain a test question, 13 words of it, or a near copy."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xreasoner.data.candidates import Candidate, flattened
from xreasoner.data.similar import SAME, bands, likeness, shingles
from xreasoner.data.words import Hashes, Words, grams, masked, whole, words_of
from xreasoner.records import Problem

GRAM = 13
BOILERPLATE = 3
"""13-grams shared by this many questions are ignored: "... the most appropriate next step ..."."""
DISTINCTIVE = 8
"""Shorter questions, in words, are compared with their options, and only exactly: too many are similar."""

LeakKind = Literal["exact", "near", "13-gram"]


@dataclass(frozen=True)
class Leak:
    kind: LeakKind
    benchmark: str
    test_id: str
    shared: str
    """The words they have in common."""


@dataclass(frozen=True)
class BenchmarkItem:
    """A test question; questions that several benchmarks share occur once."""

    benchmark: str
    id: str
    question: Words
    text: str
    """Question and options, normalised."""
    shingles_S: Hashes


class Contamination:
    """An index of all test questions."""

    def __init__(self, benchmarks: Mapping[str, Sequence[Problem]]) -> None:
        self.found: Counter[str] = Counter()
        """Leaks found so far, by benchmark."""
        self._asked: list[BenchmarkItem] = []
        self._exact: dict[int, int] = {}
        self._near: dict[int, list[int]] = defaultdict(list)
        gram_parts: list[Hashes] = []
        owner_parts: list[NDArray[np.int64]] = []
        for number, (asked, gram_hashes, keys) in enumerate(_items(benchmarks)):
            self._asked.append(asked)
            for key in keys:
                self._exact.setdefault(key, number)
            if len(asked.question) >= DISTINCTIVE:
                for band in bands(asked.shingles_S).tolist():
                    self._near[band].append(number)
            gram_parts.append(gram_hashes)
            owner_parts.append(np.full(len(gram_hashes), number))
        self._index(gram_parts, owner_parts)

    def __len__(self) -> int:
        return len(self._asked)

    def _index(self, gram_parts: list[Hashes], owner_parts: list[NDArray[np.int64]]) -> None:
        every = np.concatenate([*gram_parts, np.zeros(0, np.uint64)])
        owners = np.concatenate([*owner_parts, np.zeros(0, np.int64)])
        self._grams, first, counts = np.unique(every, return_index=True, return_counts=True)
        rare = counts < BOILERPLATE
        self._grams, self._owners = self._grams[rare], owners[first[rare]]
        self.boilerplate = int((~rare).sum())
        # A bit table rejects most 13-grams of a corpus with one lookup.
        self._bits = max(16, (32 * len(self._grams)).bit_length())
        self._maybe = np.zeros(1 << self._bits, bool)
        self._maybe[self._slots(self._grams)] = True

    def _slots(self, hashes: Hashes) -> NDArray[np.int64]:
        return (hashes >> np.uint64(64 - self._bits)).astype(np.int64)

    def find(self, problem: Problem) -> Leak | None:
        question = words_of(flattened(problem.question))
        options = flattened(problem.choices)
        return (
            self._find_exact(question, words_of(options))
            or self._find_near(question)
            or self._find_gram(problem, question, options)
        )

    def check(self, candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
        leaks = [self.find(candidate.problem) for candidate in candidates]
        self.found.update(leak.benchmark for leak in leaks if leak)
        return [_reason(leak) for leak in leaks]

    def _find_exact(self, question: Words, options: Words) -> Leak | None:
        for key in _exact_keys(question, options):
            if key in self._exact:
                return self._leak("exact", self._exact[key], question.text(0, len(question)))
        return None

    def _find_near(self, question: Words) -> Leak | None:
        if len(question) < DISTINCTIVE:
            return None
        own_S = shingles(masked(question))
        candidates = {number for band in bands(own_S).tolist() for number in self._near.get(band, ())}
        likest = max(candidates, key=lambda n: likeness(own_S, self._asked[n].shingles_S), default=None)
        if likest is None or likeness(own_S, self._asked[likest].shingles_S) < SAME:
            return None
        asked = self._asked[likest].question
        return self._leak("near", likest, asked.text(0, len(asked)))

    def _find_gram(self, problem: Problem, question: Words, options: str) -> Leak | None:
        """In question, options, thought and answer: a thought may quote a test question too."""
        texts = [question, *(words_of(text) for text in (options, problem.reasoning, problem.answer) if text)]
        for words in texts:
            hashes = grams(words.hashes, GRAM)
            for place in np.flatnonzero(self._maybe[self._slots(hashes)]).tolist():
                index = int(np.searchsorted(self._grams, hashes[place]))
                if index < len(self._grams) and self._grams[index] == hashes[place]:
                    number, shared = int(self._owners[index]), words.text(place, GRAM)
                    if shared in self._asked[number].text:
                        return self._leak("13-gram", number, shared)
        return None

    def _leak(self, kind: LeakKind, number: int, shared: str) -> Leak:
        asked = self._asked[number]
        return Leak(kind, asked.benchmark, asked.id, shared)


def _items(benchmarks: Mapping[str, Sequence[Problem]]) -> Iterator[tuple[BenchmarkItem, Hashes, list[int]]]:
    """Each question once: a question in several benchmarks must not count as boilerplate."""
    seen: set[int] = set()
    for name, problems in benchmarks.items():
        for problem in problems:
            question, options = words_of(flattened(problem.question)), words_of(flattened(problem.choices))
            keys = _exact_keys(question, options)
            if not len(question) or not seen.isdisjoint(keys):
                continue
            seen.update(keys)
            text = f"{question.text(0, len(question))} {options.text(0, len(options))}"
            asked = BenchmarkItem(name, problem.id, question, text, shingles(masked(question)))
            yield asked, np.unique(grams(words_of(text).hashes, GRAM)), keys


def _exact_keys(question: Words, options: Words) -> list[int]:
    together = whole(np.concatenate([question.hashes, options.hashes]))
    return [together, whole(question.hashes)] if len(question) >= DISTINCTIVE else [together]


def _reason(leak: Leak | None) -> tuple[str, str]:
    if leak is None:
        return "", ""
    return f"in a benchmark: {leak.kind}", f"{leak.benchmark} {leak.test_id}: {leak.shared}"
