"""Graded samples as JSON lines, the problems they answer beside them, and both as one evaluation's answers.

`NAME.jsonl` has a line for every sample as it comes. `problems/NAME.jsonl` has the benchmark's problems, each
once; their pictures are files in the run's folder of pictures.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from xreasoner.records import Kind, Picture, Problem, Score, Stop
from xreasoner.storage.checked_json import (
    checked_line,
    every_line,
    read_checked_json,
    whole_lines,
    write_checked_json,
)
from xreasoner.storage.files import write_atomically

Key = tuple[str, int]
"""A problem's id and the number of the sample."""

IMAGE_MARK = "<image>"
AGAIN = "`xreasoner run` or `eval` with the same settings answers it again"
KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


@dataclass(frozen=True)
class Sample:
    problem_id: str
    epoch: int
    """Which of several samples of this problem, counted from 0."""
    asked: str
    """A digest of what was asked, and how; a sample of another digest answers another question."""
    score: Score
    forced: bool
    stop: Stop
    think_tokens: int
    text: str = field(repr=False)
    broken: bool = False
    """It could not be asked, or the engine refused it; the score says why."""
    tokens: tuple[int, ...] = field(default=(), repr=False)
    """Stored only if shorter budgets are answered from the start of this answer."""
    token_codes: str = field(default="", repr=False)
    """Length and log-probability of each token; see `token_codes.py`."""

    @property
    def key(self) -> Key:
        return self.problem_id, self.epoch

    @property
    def cut(self) -> bool:
        """The token limit ended it before the model did."""
        return self.stop == "length" and not self.broken

    @property
    def verdict(self) -> Literal["right", "wrong", "missing", "unscored"]:
        if self.score.correct is None:
            return "unscored"
        return "missing" if self.score.missing else "right" if self.score.correct else "wrong"

    @property
    def unscored(self) -> bool:
        """The grader failed."""
        return self.score.correct is None and not self.broken


@dataclass(frozen=True)
class KeptProblem:
    """A problem whose pictures are files: its question is one text that marks their places."""

    problem: Problem
    pictures: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        return "".join(part for part in self.problem.question if isinstance(part, str))


@dataclass(frozen=True)
class Answers:
    """The samples of one evaluation, or some of them, and the problems that they answer."""

    problems: Mapping[str, KeptProblem]
    """By id, in the benchmark's order."""
    samples: tuple[Sample, ...]

    def where(self, wanted: Callable[[Problem], bool]) -> "Answers":
        problems = {name: kept for name, kept in self.problems.items() if wanted(kept.problem)}
        return Answers(problems, tuple(one for one in self.samples if one.problem_id in problems))

    def of(self, samples: Iterable[Sample]) -> "Answers":
        kept = tuple(samples)
        ids = {sample.problem_id for sample in kept}
        return Answers({name: one for name, one in self.problems.items() if name in ids}, kept)

    def half(self, remainder: int) -> "Answers":
        """The samples of even or odd epochs."""
        return self.of(sample for sample in self.samples if sample.epoch % 2 == remainder)

    def renamed(self, prefix: str) -> "Answers":
        """For pooling: ids and items of several benchmarks stay apart."""
        problems = {
            f"{prefix} {name}": replace(
                kept,
                problem=replace(kept.problem, id=f"{prefix} {name}", item=f"{prefix} {kept.problem.item}"),
            )
            for name, kept in self.problems.items()
        }
        samples = (replace(one, problem_id=f"{prefix} {one.problem_id}") for one in self.samples)
        return Answers(problems, tuple(samples))


def pooled(parts: Iterable[Answers]) -> Answers:
    problems, samples = dict[str, KeptProblem](), list[Sample]()
    for part in parts:
        problems |= part.problems
        samples += part.samples
    return Answers(problems, tuple(samples))


# --- files ----------------------------------------------------------------------------------------------


def problems_path(samples_path: Path) -> Path:
    return samples_path.parent / "problems" / samples_path.name


def result_path(path: Path) -> Path:
    """The summary beside the samples, written last: an evaluation without one is not finished."""
    return path.with_suffix(".json")


def read_result(path: Path) -> dict[str, Any]:
    return read_checked_json(result_path(path), AGAIN)


def write_finished(path: Path, samples: Iterable[Sample], result: Mapping[str, Any]) -> None:
    write_samples(path, samples)
    write_checked_json(result_path(path), result)


def read_answers(path: Path) -> Answers:
    """The answers of a finished evaluation, all of them and as they were written."""
    kept = problems_path(path)
    for file in (path, kept):
        if not file.is_file():
            raise ValueError(f"{file} is missing; {AGAIN}")
    problems = {line["id"]: problem_from_json(line) for line in every_line(kept, AGAIN)}
    answers = Answers(problems, tuple(map(sample_from_json, every_line(path, AGAIN))))
    result = read_result(path)
    if len(problems) != result["n"]:
        raise ValueError(f"{kept} has {len(problems):,} of {result['n']:,} problems; {AGAIN}")
    if missing := missing_answers(answers, result["sampling"]["n"]):
        raise ValueError(f"{path} lacks answers to {missing[0]!r} and {len(missing) - 1} more; {AGAIN}")
    return answers


def missing_answers(answers: Answers, samples: int) -> list[str]:
    """Problems with fewer answers than were sampled. An item that could not be asked has one."""
    found = Counter(sample.problem_id for sample in answers.samples)
    unasked = {sample.problem_id for sample in answers.samples if sample.broken}
    return [name for name in answers.problems if found[name] < samples and name not in unasked]


def read_samples(path: Path) -> Iterator[Sample]:
    """Whole lines only: what is missing is asked again."""
    return map(sample_from_json, whole_lines(path))


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    write_atomically(path, "".join(map(to_line, samples)).encode())


def to_line(sample: Sample) -> str:
    fields = asdict(sample)
    for name in ("tokens", "token_codes"):
        if not fields[name]:
            del fields[name]
    return checked_line(fields)


def sample_from_json(fields: Mapping[str, Any]) -> Sample:
    tokens, score = tuple(fields.get("tokens", ())), Score(**fields["score"])
    return Sample(**{**fields, "tokens": tokens, "score": score})


def write_problems(path: Path, kept: Iterable[KeptProblem]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(checked_line(as_json(one)) for one in kept).encode())


def kept_problem(problem: Problem, pictures: Iterable[str]) -> KeptProblem:
    words = "".join(IMAGE_MARK if isinstance(part, Picture) else part for part in problem.question)
    item = problem.item or problem.id
    return KeptProblem(replace(problem, question=(words.strip(),), item=item, reasoning=""), tuple(pictures))


def as_json(kept: KeptProblem) -> dict[str, Any]:
    problem = kept.problem
    return {
        "id": problem.id,
        "item": problem.item,
        "question": kept.question,
        "answer": problem.answer,
        "kind": problem.kind,
        "choices": problem.choices,
        "choices_in_picture": problem.choices_in_picture,
        "domain": problem.domain,
        "source": problem.source,
        "tags": dict(problem.tags),
        "pictures": kept.pictures,
    }


def problem_from_json(fields: Mapping[str, Any]) -> KeptProblem:
    given = dict(fields)
    pictures = tuple(given.pop("pictures"))
    typed = {
        "question": (given["question"],),
        "kind": KINDS[given["kind"]],
        "choices": tuple(given["choices"]),
    }
    return KeptProblem(Problem(**{**given, **typed}), pictures)
