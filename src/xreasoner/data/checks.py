"""Filters by thought, length, verified answer and pass rate; each checks a batch of candidates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xreasoner.chat.think import write_thought
from xreasoner.data.candidates import Candidate
from xreasoner.data.duplicates import asked_text
from xreasoner.data.json_rows import jsonl_rows
from xreasoner.recipe.training_data import PassRates
from xreasoner.rewards.grade import Grader

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FilterResult = tuple[str, str]
"""Reason and detail; an empty reason keeps the candidate."""
Check = Callable[[Sequence[Candidate]], Sequence[FilterResult]]
KEPT: FilterResult = ("", "")
COUNTED_FIRST = 512
"""Rows whose tokens are counted before any length is estimated."""
MARGIN = 1.15
"""A length is estimated only if a row denser by this factor than all counted ones would pass too."""


def has_thought(candidates: Sequence[Candidate]) -> list[FilterResult]:
    return [KEPT if one.problem.reasoning else ("no thought", "") for one in candidates]


def is_verified(grader: Grader) -> Check:
    """Compares the answer to train on with the known answer, where there is one."""

    def check(candidates: Sequence[Candidate]) -> list[FilterResult]:
        known = [place for place, one in enumerate(candidates) if one.truth]
        pairs = [
            (replace(candidates[place].problem, answer=candidates[place].truth), written(candidates[place]))
            for place in known
        ]
        verdicts = [KEPT] * len(candidates)
        for place, score in zip(known, grader.score_many(pairs), strict=True):
            if not score.correct:
                reason = "could not be verified" if score.correct is None else "wrong final answer"
                verdicts[place] = (
                    reason,
                    f"{score.extracted!r}, expected {candidates[place].truth!r}: {score.why}",
                )
        return verdicts

    return check


def written(candidate: Candidate) -> str:
    return write_thought("", candidate.problem.answer)


class Lengths:
    """Tokens of question, thought and answer, plus a constant for the chat template.

    Counting tokens costs more than all other filters together. So a length far from both limits is estimated
    from the characters; a row near a limit is counted, and so is every row that would be left out.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", fewest: int, most: int | None, marks: int
    ) -> None:
        self._tokenizer, self._fewest, self._most, self._marks = tokenizer, fewest, most, marks
        self._characters = self._tokens = self._counted = 0
        self._densest = self._sparsest = 0.0
        """Most and fewest tokens per character of the rows counted so far."""
        self.measured: dict[str, int] = {}
        """Lengths by id, of the last batch."""
        self.estimated = 0

    def check(self, candidates: Sequence[Candidate]) -> list[FilterResult]:
        texts = [_texts(one) for one in candidates]
        lengths = [None if self._in_doubt(text) else self._estimate(text) for text in texts]
        doubtful = [text for text, length in zip(texts, lengths, strict=True) if length is None]
        counts = iter(self._count(doubtful))
        whole = [next(counts) if length is None else length for length in lengths]
        self.estimated += len(texts) - len(doubtful)
        self.measured = {one.problem.id: n for one, n in zip(candidates, whole, strict=True)}
        return [self._verdict(length) for length in whole]

    def _in_doubt(self, text: tuple[str, str]) -> bool:
        if self._counted < COUNTED_FIRST:
            return True
        size = len(text[0]) + len(text[1])
        at_least = size * self._sparsest / MARGIN + self._marks
        at_most = size * self._densest * MARGIN + self._marks
        return at_least < self._fewest or (self._most is not None and at_most > self._most)

    def _estimate(self, text: tuple[str, str]) -> int:
        size = len(text[0]) + len(text[1])
        return round(size * self._tokens / max(1, self._characters)) + self._marks

    def _count(self, texts: Sequence[tuple[str, str]]) -> list[int]:
        if not texts:
            return []
        pieces = [piece for text in texts for piece in text]
        from xreasoner.chat.template import encode_texts

        sizes = [len(ids) for ids in encode_texts(pieces, self._tokenizer)]
        counts = [sizes[i] + sizes[i + 1] for i in range(0, len(sizes), 2)]
        self._learn(texts, counts)
        return [count + self._marks for count in counts]

    def _learn(self, texts: Sequence[tuple[str, str]], counts: Sequence[int]) -> None:
        characters = [len(asked) + len(reply) for asked, reply in texts]
        density = [count / max(1, size) for count, size in zip(counts, characters, strict=True)]
        self._densest = max(self._densest, *density)
        self._sparsest = min(self._sparsest or 1.0, *density)
        self._tokens, self._characters = self._tokens + sum(counts), self._characters + sum(characters)
        self._counted += len(texts)

    def _verdict(self, count: int) -> FilterResult:
        if self._most is not None and count > self._most:
            return "too long", f"{count} tokens"
        return ("too short", f"{count} tokens") if count < self._fewest else KEPT


def _texts(candidate: Candidate) -> tuple[str, str]:
    """The text of the prompt, and of the reply."""
    problem = candidate.problem
    return asked_text(problem), write_thought(problem.reasoning, problem.answer)


def rated(settings: PassRates) -> Check:
    rates = read_rates(settings.file)

    def check(candidates: Sequence[Candidate]) -> list[FilterResult]:
        return [_rate_verdict(rates, one.problem.id, settings) for one in candidates]

    return check


def _rate_verdict(rates: Mapping[str, float], key: str, settings: PassRates) -> FilterResult:
    if key not in rates:
        return "no pass rate", f"not in {settings.file}"
    rate = rates[key]
    if rate <= settings.low:
        return "never solved" if rate == 0 else "seldom solved", f"{rate:.2f}"
    if rate >= settings.high:
        return "always solved" if rate == 1 else "often solved", f"{rate:.2f}"
    return KEPT


def read_rates(path: Path) -> dict[str, float]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file of pass rates; create it with: xreasoner data pass-rate")
    return {key: rate for key, rate in rate_rows(path) if rate is not None}


def rate_rows(path: Path) -> Iterator[tuple[str, float | None]]:
    """Id and rate of each line; None if no sample of the problem could be judged."""
    for row in jsonl_rows(path):
        match row.value:
            case {"id": str(key), "rate": float() | int() | None as rate} if rate is None or 0 <= rate <= 1:
                yield key, rate
            case _:
                why = row.trouble or "not an id and a rate from 0 to 1"
                raise ValueError(f"{row.position}: {why}; this is no file of xreasoner data pass-rate")
