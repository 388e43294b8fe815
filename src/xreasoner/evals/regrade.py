"""Grade kept answers once more, after the grader learned something: no model is asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xreasoner.evals.samples import Sample, read_samples, write_samples
from xreasoner.evals.summary import summarise
from xreasoner.records import Kind, Problem, Score
from xreasoner.rewards.grade import Grader
from xreasoner.storage.files import write_json


@dataclass(frozen=True)
class Regraded:
    path: Path
    graded: int
    changed: tuple[tuple[Sample, Sample], ...]
    """Before and after, where the verdict is another one."""


def regrade(run_dir: Path, grader: Grader) -> Iterator[Regraded]:
    """Every finished evaluation of the run, shorter budgets too; files are replaced whole."""
    for path in finished(run_dir):
        before = list(read_samples(path))
        after = grade_again(before, grader, path)
        changed = tuple(
            pair for pair in zip(before, after, strict=True) if pair[0].correct != pair[1].correct
        )
        write_samples(path, after)
        facts = json.loads(path.with_suffix(".json").read_text())
        facts.pop("judge", None)  # what a judge found is looked for by the rules again
        write_json(path.with_suffix(".json"), {**facts, **vars(summarise(after))})
        yield Regraded(path, len(after), changed)


def finished(run_dir: Path) -> list[Path]:
    """An evaluation has a summary once all its samples are there."""
    found = sorted(run_dir.glob("evals/**/*.jsonl"))
    return [path for path in found if path.with_suffix(".json").exists()]


def grade_again(samples: list[Sample], grader: Grader, path: Path) -> list[Sample]:
    asked = [sample for sample in samples if not sample.broken]
    unknown = next((sample for sample in asked if not sample.kind), None)
    if unknown:
        raise ValueError(
            f"{path}: {unknown.id} does not say how it is compared, which older versions did not keep; "
            "evaluate again"
        )
    scores = iter(grader.score_many([(problem_of(sample), sample.text) for sample in asked]))
    return [sample if sample.broken else with_score(sample, next(scores)) for sample in samples]


def with_score(sample: Sample, score: Score) -> Sample:
    return replace(sample, correct=score.correct, extracted=score.extracted, why=score.why)


def problem_of(sample: Sample) -> Problem:
    """As much of it as a grader reads."""
    kind: Kind = sample.kind  # type: ignore[assignment]  # written from a Problem's
    return Problem(sample.id, (sample.question,), sample.gold, kind, sample.choices, tags=sample.tags)
