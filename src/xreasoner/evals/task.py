"""A benchmark is a named set of problems; a task is one benchmark put to one model."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from xreasoner.evals.samples import Key, Sample, read_samples
from xreasoner.evals.scorer import Scorer
from xreasoner.records import Modality, Picture, Problem, Sampling
from xreasoner.rollout.token_pieces import TokenPieces
from xreasoner.storage.checked_json import read_checked_json

ResultRole = Literal["skill", "perception", "blind"]
"""perception: questions that need no reasoning; blind: an image benchmark asked without its images."""

_NAME = re.compile(r"^[\w][\w.+-]*$")


@dataclass(frozen=True)
class Broken:
    """An item that cannot be asked. It counts as unscored, never as wrong."""

    id: str
    why: str


@dataclass(frozen=True)
class Benchmark:
    name: str
    modality: Modality
    domain: str
    problems: tuple[Problem, ...]
    role: ResultRole = "skill"
    broken: tuple[Broken, ...] = ()
    instruction: str | None = None
    """The system prompt before every problem."""
    prompt: str = ""
    """The name of that prompt, if the benchmark is asked with several."""
    scorer: Scorer | None = None
    """Grades in place of our grader."""

    @property
    def is_repeated(self) -> bool:
        """Its problems are also asked with another prompt, under the plain name."""
        return is_repeated(self.name, self.prompt)

    @property
    def chance(self) -> float:
        """The expected accuracy of guessing; questions without options count as 0."""
        return fmean(1 / len(p.choices) if p.kind == "choice" else 0.0 for p in self.problems)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"benchmark {self.name!r}: use letters, digits, '-', '_', '+' and '.'")
        if not self.problems:
            why = f"; all of its items are broken, the first one: {self.broken[0].why}" if self.broken else ""
            raise ValueError(f"benchmark {self.name} has no problems{why}")
        ids = [problem.id for problem in self.problems] + [item.id for item in self.broken]
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            raise ValueError(f"benchmark {self.name}: the id {twice[0]!r} belongs to more than one problem")


def is_repeated(name: str, prompt: str) -> bool:
    return bool(prompt) and name.endswith(name_with_prompt("", prompt))


def name_with_prompt(benchmark: str, prompt: str) -> str:
    """Of a benchmark that is also asked with another prompt."""
    return f"{benchmark}+{prompt}"


BUDGET_FOLDER = "budget-"
ASKED = "asked.json"
"""In `evals/`: the stages, benchmarks and shorter budgets of the last run, which the report shows."""


@dataclass(frozen=True)
class RankShard:
    """One process's problems: every `size`-th one, starting with number `rank`."""

    rank: int = 0
    size: int = 1


ALONE = RankShard()


@dataclass(frozen=True)
class Task:
    benchmark: Benchmark
    sampling: Sampling
    out: Path
    """The folder for this model's answers."""
    pictures: Path
    """Shared by all models of a run."""
    keeps_tokens: bool = False
    """Needed if shorter budgets are to be answered from these answers."""
    pieces: TokenPieces | None = None
    """Given if each token's log-probability is to be stored."""

    @cached_property
    def asked(self) -> dict[str, str]:
        how = {name: value for name, value in asdict(self.sampling).items() if name != "n"}
        if self.benchmark.scorer:
            how["scorer"] = self.benchmark.scorer.identity
        return {
            problem.id: digest(problem, self.benchmark.instruction, how)
            for problem in self.benchmark.problems
        }

    @property
    def samples_path(self) -> Path:
        return self.out / f"{self.benchmark.name}.jsonl"

    def shard_path(self, shard: RankShard) -> Path:
        """The first process writes to the final file."""
        if shard.rank == 0:
            return self.samples_path
        return self.out / "shards" / str(shard.rank) / self.samples_path.name

    def other_shards(self) -> list[Path]:
        return sorted(self.out.glob(f"shards/*/{self.samples_path.name}"))

    def answers(self) -> Iterator[Sample]:
        """Samples on disk, from any process, that answer exactly what is asked now."""
        for path in (self.samples_path, *self.other_shards()):
            for sample in read_samples(path) if path.exists() else ():
                if self.asked.get(sample.problem_id) == sample.asked and sample.epoch < self.sampling.n:
                    yield sample

    def keys(self, shard: RankShard) -> list[Key]:
        mine = self.benchmark.problems[shard.rank :: shard.size]
        return [(problem.id, sample) for problem in mine for sample in range(self.sampling.n)]

    def open_keys(self, shard: RankShard) -> list[Key]:
        done = {sample.key for sample in self.answers()}
        return [key for key in self.keys(shard) if key not in done]

    def with_budget(self, think_budget: int) -> "Task":
        return replace(
            self,
            sampling=replace(self.sampling, think_budget=think_budget),
            out=self.out / budget_folder(think_budget),
            keeps_tokens=False,
            pieces=None,  # the engine continues given tokens, whose probability it does not know
        )


def read_asked(run_dir: Path) -> dict[str, Any]:
    """Empty for a folder of models that were evaluated without a recipe's stages."""
    path = run_dir / "evals" / ASKED
    return read_checked_json(path, "`xreasoner run` writes it again") if path.exists() else {}


def asked_stages(run_dir: Path) -> list[str]:
    return read_asked(run_dir).get("stages", [])


def is_asked(run_dir: Path, benchmark: str, budget: str | None = None) -> bool:
    """Answers that the last run did not ask for stay on disk, but out of its report."""
    asked = read_asked(run_dir)
    if not asked:
        return True
    budgets = map(budget_folder, asked["budgets"])
    return benchmark in asked["benchmarks"] and (budget is None or budget in budgets)


def budget_folder(think_budget: int) -> str:
    return f"{BUDGET_FOLDER}{think_budget}"


def digest(problem: Problem, instruction: str | None, how: dict[str, object]) -> str:
    """A hash of everything but the model that decides an answer and its grade."""
    parts = [picture_name(part) if isinstance(part, Picture) else part for part in problem.question]
    key = [problem.answer, problem.kind, problem.choices]
    return hashlib.sha256(json.dumps([parts, key, instruction, how]).encode()).hexdigest()[:16]


def picture_name(picture: Picture) -> str:
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
    suffix = next((kind for magic, kind in kinds.items() if picture.encoded.startswith(magic)), "png")
    return f"{hashlib.sha1(picture.encoded, usedforsecurity=False).hexdigest()}.{suffix}"
