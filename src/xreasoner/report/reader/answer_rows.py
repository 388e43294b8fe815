"""One form for the answers of evaluations and of training, read as a stream."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from xreasoner.evals.samples import (
    AGAIN,
    IMAGE_MARK,
    KeptProblem,
    problem_from_json,
    sample_from_json,
)
from xreasoner.evals.token_codes import tokens_of
from xreasoner.records import OPTION_LETTERS
from xreasoner.report.reader.answer_files import AnswerSource
from xreasoner.storage.checked_json import every_line

VERDICTS = ("right", "wrong", "missing", "unscored", "unasked")
"""missing: no answer was found; unscored: the grader failed; unasked: the item could not be asked."""


DETAILS = ("rewards", "advantage", "tokens")
"""What training stores of a rollout beside its score."""


NEEDED = {"id", "sample", "question", "gold", "text", "extracted", "correct", "why", "forced", "stop"}


@dataclass(frozen=True)
class AskedItem:
    id: str
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """Tells items of one id apart whose benchmark has changed."""
        text = json.dumps([self.question, self.answer, self.choices])
        return xxhash.xxh3_64_hexdigest(text.encode())


@dataclass(frozen=True)
class AnswerRow:
    item: AskedItem
    sample: int
    verdict: str
    forced: bool
    cut: bool
    think_tokens: int
    extracted: str | None
    why: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Each token's length and log-probability, where stored; of training also rewards and advantage."""


def read_rows(file: AnswerSource) -> Iterator[AnswerRow]:
    return evaluation_rows(file) if file.problems else training_rows(file)


def evaluation_rows(file: AnswerSource) -> Iterator[AnswerRow]:
    assert file.problems is not None
    for path in (file.path, file.problems):
        if not path.is_file():
            raise ValueError(f"{path} is missing; {AGAIN}")
    items = {line["id"]: item_of(problem_from_json(line)) for line in every_line(file.problems, AGAIN)}
    for sample in map(sample_from_json, every_line(file.path, AGAIN)):
        if sample.problem_id not in items:
            raise ValueError(f"{file.problems} lacks the problem {sample.problem_id!r}; {AGAIN}")
        yield AnswerRow(
            item=items[sample.problem_id],
            sample=sample.epoch,
            verdict="unasked" if sample.broken else sample.verdict,
            forced=sample.forced,
            cut=sample.cut,
            think_tokens=sample.think_tokens,
            extracted=sample.score.extracted,
            why=sample.score.why,
            text=sample.text,
            details={"tokens": tokens_of(sample.token_codes)} if sample.token_codes else {},
        )


def item_of(kept: KeptProblem) -> AskedItem:
    problem = kept.problem
    tags = {str(name): str(value) for name, value in problem.tags.items()}
    tags |= {"source": problem.source} if problem.source else {}
    question = kept.question.replace(IMAGE_MARK, "").strip()
    choices = problem.choices[: len(OPTION_LETTERS)]
    return AskedItem(problem.id, question, problem.answer, choices, kept.pictures, tags)


def training_rows(file: AnswerSource) -> Iterator[AnswerRow]:
    tags = {"step": f"{file.step:,}"}
    for fields in sample_lines(file.path):
        yield AnswerRow(
            item=AskedItem(f"step {file.step} {fields['id']}", fields["question"], fields["gold"], tags=tags),
            sample=fields["sample"],
            verdict=verdict_of(fields["correct"], fields["extracted"]),
            forced=fields["forced"],
            cut=fields["stop"] == "length",
            think_tokens=fields.get("think_tokens", 0),
            extracted=fields["extracted"],
            why=fields["why"],
            text=fields["text"],
            details={name: fields[name] for name in DETAILS if fields.get(name) is not None},
        )


def verdict_of(correct: bool | None, extracted: str | None) -> str:
    if correct is None:
        return "unscored"
    return "missing" if extracted is None else "right" if correct else "wrong"


def sample_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
            except ValueError:
                fields = None
            if not isinstance(fields, dict) or not fields.keys() >= NEEDED:
                raise ValueError(
                    f"{path}, line {number} is damaged, or from an earlier version; delete the file"
                )
            yield fields
