"""One benchmark put to one model in one way: what is asked, and where the answers are kept."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from xreasoner.evals.benchmark import Benchmark
from xreasoner.evals.samples import Key, Sample, read_samples
from xreasoner.records import Picture, Problem, Sampling

BUDGET_FOLDER = "budget-"


@dataclass(frozen=True)
class Share:
    """This process asks every `size`-th problem, from number `rank` on."""

    rank: int = 0
    size: int = 1


ALONE = Share()


@dataclass(frozen=True)
class Task:
    benchmark: Benchmark
    instruction: str | None
    sampling: Sampling
    out: Path
    """The folder of the model's answers."""
    pictures: Path
    """One folder for all models of a run."""
    keeps_tokens: bool = False
    """Shorter budgets will be answered from the beginnings of these answers."""

    @cached_property
    def asked(self) -> dict[str, str]:
        how = {name: value for name, value in asdict(self.sampling).items() if name != "n"}
        return {problem.id: digest(problem, self.instruction, how) for problem in self.benchmark.problems}

    @property
    def samples_path(self) -> Path:
        return self.out / f"{self.benchmark.name}.jsonl"

    @property
    def result_path(self) -> Path:
        return self.out / f"{self.benchmark.name}.json"

    def share_path(self, share: Share) -> Path:
        """The first process writes where all answers stand in the end."""
        if share.rank == 0:
            return self.samples_path
        return self.out / "shares" / str(share.rank) / self.samples_path.name

    def other_shares(self) -> list[Path]:
        return sorted(self.out.glob(f"shares/*/{self.samples_path.name}"))

    def answers(self) -> Iterator[Sample]:
        """What is written down and answers exactly what is asked now, whichever process wrote it."""
        for path in (self.samples_path, *self.other_shares()):
            for sample in read_samples(path) if path.exists() else ():
                if self.asked.get(sample.id) == sample.asked and sample.sample < self.sampling.n:
                    yield sample

    def keys(self, share: Share) -> list[Key]:
        mine = self.benchmark.problems[share.rank :: share.size]
        return [(problem.id, sample) for problem in mine for sample in range(self.sampling.n)]

    def open_keys(self, share: Share) -> list[Key]:
        done = {sample.key for sample in self.answers()}
        return [key for key in self.keys(share) if key not in done]

    def with_budget(self, think_budget: int) -> "Task":
        return replace(
            self,
            sampling=replace(self.sampling, think_budget=think_budget),
            out=self.out / budget_folder(think_budget),
            keeps_tokens=False,
        )


def budget_folder(think_budget: int) -> str:
    return f"{BUDGET_FOLDER}{think_budget}"


def digest(problem: Problem, instruction: str | None, how: dict[str, object]) -> str:
    """Of all that decides an answer and its grade but the model, which a run keeps in its own folder."""
    parts = [picture_name(part) if isinstance(part, Picture) else part for part in problem.question]
    key = [problem.answer, problem.kind, problem.choices]
    return hashlib.sha256(json.dumps([parts, key, instruction, how]).encode()).hexdigest()[:16]


def picture_name(picture: Picture) -> str:
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
    suffix = next((kind for magic, kind in kinds.items() if picture.encoded.startswith(magic)), "png")
    return f"{hashlib.sha1(picture.encoded, usedforsecurity=False).hexdigest()}.{suffix}"
