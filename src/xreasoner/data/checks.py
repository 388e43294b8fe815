"""Filters that look at a handful of problems at a time: thought, length, verified answer, pass rate."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xreasoner.chat.think import write_thought
from xreasoner.data.candidates import Candidate
from xreasoner.data.duplicates import asked_text
from xreasoner.recipe_data import PassRates
from xreasoner.rewards.grade import Grader

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Verdict = tuple[str, str]
"""Reason and detail; the empty reason keeps the problem."""
Check = Callable[[Sequence[Candidate]], Sequence[Verdict]]
KEPT: Verdict = ("", "")


def has_thought(candidates: Sequence[Candidate]) -> list[Verdict]:
    return [KEPT if one.problem.reasoning else ("no thought", "") for one in candidates]


def is_verified(grader: Grader) -> Check:
    """The answer that is trained on against the known one, where there is one."""

    def check(candidates: Sequence[Candidate]) -> list[Verdict]:
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
                    f"{score.extracted!r}, known is {candidates[place].truth!r}: {score.why}",
                )
        return verdicts

    return check


def written(candidate: Candidate) -> str:
    return write_thought("", candidate.problem.answer)


class Lengths:
    """Tokens of question, thought and answer; what chat marks add is measured once."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", fewest: int, most: int | None, marks: int
    ) -> None:
        self._tokenizer, self._fewest, self._most, self._marks = tokenizer, fewest, most, marks
        self.measured: dict[str, int] = {}
        """By id, of the last problems that were checked."""

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        counts = self._counts(candidates)
        self.measured = {one.problem.id: n for one, n in zip(candidates, counts, strict=True)}
        return [self._verdict(count) for count in counts]

    def _counts(self, candidates: Sequence[Candidate]) -> list[int]:
        asked = [asked_text(one.problem) for one in candidates]
        replies = [write_thought(one.problem.reasoning, one.problem.answer) for one in candidates]
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is not None:  # several times faster: it keeps no places of tokens in the text
            encoded = backend.encode_batch_fast([*asked, *replies], add_special_tokens=False)
            counts = [len(one) for one in encoded]
        else:
            counts = [
                len(ids) for ids in self._tokenizer([*asked, *replies], add_special_tokens=False)["input_ids"]
            ]
        half = len(candidates)
        return [counts[i] + counts[half + i] + self._marks for i in range(half)]

    def _verdict(self, count: int) -> Verdict:
        if self._most is not None and count > self._most:
            return "too long", f"{count} tokens"
        return ("too short", f"{count} tokens") if count < self._fewest else KEPT


def rated(settings: PassRates) -> Check:
    rates = read_rates(settings.file)

    def check(candidates: Sequence[Candidate]) -> list[Verdict]:
        return [_rate_verdict(rates, one.problem.id, settings) for one in candidates]

    return check


def _rate_verdict(rates: Mapping[str, float], key: str, settings: PassRates) -> Verdict:
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
        raise ValueError(f"{path}: there are no pass rates; make them with: xreasoner data pass-rate")
    with path.open(encoding="utf-8") as lines:
        return {row["id"]: row["rate"] for row in map(json.loads, lines) if row["rate"] is not None}
