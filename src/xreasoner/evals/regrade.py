"""Grade existing answers again, for example after the grader changed. No model runs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xreasoner.evals.samples import Answers, Sample, read_answers, read_result, write_finished
from xreasoner.evals.summary import summarise
from xreasoner.rewards.grade import Grader


@dataclass(frozen=True)
class Regraded:
    path: Path
    graded: int
    changed: tuple[tuple[Sample, Sample], ...]
    """Before and after, where the verdict differs."""


def regrade(run_dir: Path, grader: Grader) -> Iterator[Regraded]:
    """Every finished evaluation of the run that our grader graded, shorter budgets included."""
    for path in (path for path in finished(run_dir) if not own_scorer(path)):
        before = read_answers(path)
        after = grade_again(before, grader)
        pairs = zip(before.samples, after.samples, strict=True)
        changed = tuple((old, new) for old, new in pairs if old.score.correct != new.score.correct)
        facts = read_result(path)
        facts.pop("judge", None)  # the rules alone grade again, so what a judge found is undone
        write_finished(path, after.samples, {**facts, **vars(summarise(after))})
        yield Regraded(path, len(after.samples), changed)


def own_scorer(path: Path) -> str:
    """The name of the user's scorer; empty if our grader graded."""
    return str(read_result(path).get("scorer", ""))


def finished(run_dir: Path) -> list[Path]:
    """The sample files of evaluations that have a summary, so all their samples."""
    found = sorted(run_dir.glob("evals/**/*.jsonl"))
    return [path for path in found if path.with_suffix(".json").exists()]


def grade_again(answers: Answers, grader: Grader) -> Answers:
    asked = [sample for sample in answers.samples if not sample.broken]
    pairs = [(answers.problems[sample.problem_id].problem, sample.text) for sample in asked]
    scores = iter(grader.score_many(pairs))
    graded = (one if one.broken else replace(one, score=next(scores)) for one in answers.samples)
    return replace(answers, samples=tuple(graded))
