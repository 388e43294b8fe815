"""What a tracker shows of a run, read from the run's folder while it grows.

The folder is the source of truth. A tracker only reads it, so it can start late, die, and start again, and
training never waits for it. What it has shown is noted in `track/NAME.json`, so that nothing is shown twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xreasoner.evals.samples import Answers, read_answers
from xreasoner.storage.files import write_json
from xreasoner.storage.run_folder import METRICS, stage_folders

ROWS = 16
"""Of each table of answers; `report.html` has more."""


@dataclass(frozen=True)
class StepValues:
    step: int
    """Counted over all stages, because trackers want one number that grows."""
    values: Mapping[str, float]
    """By names such as `sft/loss`."""


@dataclass(frozen=True)
class TrackedAnswer:
    question: str
    pictures: tuple[Path, ...]
    key: str
    answer: str
    verdict: str
    text: str


@dataclass(frozen=True)
class TrackedAnswers:
    """Some answers to read: of a training step, or of a stage's evaluation."""

    name: str
    step: int
    rows: tuple[TrackedAnswer, ...]


@dataclass
class Shown:
    """What a tracker has shown of a run so far."""

    run_id: str = ""
    """The tracker's own name of the run, by which it is opened again."""
    lines: dict[str, int] = field(default_factory=dict)
    """The lines of each stage's metrics."""
    tables: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))


def read_shown(path: Path) -> Shown:
    return Shown(**json.loads(path.read_text())) if path.is_file() else Shown()


@dataclass
class RunReader:
    run_dir: Path
    shown: Shown

    @property
    def project(self) -> str:
        return str(self.config().get("name") or self.run_dir.resolve().name)

    def config(self) -> dict[str, Any]:
        """The recipe, defaults included."""
        recipe = self.run_dir / "recipe.yaml"
        return yaml.safe_load(recipe.read_text()) if recipe.is_file() else {}

    def stages(self) -> list[Path]:
        return list(stage_folders(self.run_dir).values())

    def new_values(self) -> Iterator[StepValues]:
        """A step that is trained again after an interruption is not shown again."""
        before = 0
        for folder in self.stages():
            lines = whole_lines_of(folder / METRICS)
            for line in lines[self.shown.lines.get(folder.name, 0) :]:
                values = json.loads(line)
                step = before + values.pop("step")
                known = {name: value for name, value in values.items() if isinstance(value, (int, float))}
                yield StepValues(step, {f"{stage_name(folder)}/{name}": v for name, v in known.items()})
            self.shown.lines[folder.name] = max(len(lines), self.shown.lines.get(folder.name, 0))
            before += last_step(lines)

    def new_tables(self) -> Iterator[TrackedAnswers]:
        before = 0
        for folder in self.stages():
            for path in sorted((folder / "samples").glob("step-*.jsonl")):
                step = int(path.stem.partition("-")[2])
                yield from self._once(f"{stage_name(folder)}/step {step}", before + step, path)
            before += last_step(whole_lines_of(folder / METRICS))
        for result in sorted((self.run_dir / "evals").glob("*/*.json")):
            samples = result.with_suffix(".jsonl")
            if samples.is_file():
                yield from self._once(f"answers of {result.parent.name}/{result.stem}", before, samples)

    def _once(self, name: str, step: int, path: Path) -> Iterator[TrackedAnswers]:
        if name in self.shown.tables:
            return
        is_training = path.parent.name == "samples"
        rows = (
            training_rows(path) if is_training else evaluation_rows(path, self.run_dir / "evals" / "pictures")
        )
        yield TrackedAnswers(name, step, tuple(rows))
        self.shown.tables.append(name)

    def results(self) -> dict[str, float]:
        """Accuracies and differences, by names such as `accuracy/rl/gsm8k`; empty before the report."""
        path = self.run_dir / "results.json"
        if not path.is_file():
            return {}
        found = json.loads(path.read_text())
        rows = [row for row in found["results"] if row.get("subset", "all") == "all"]
        accuracies = {f"accuracy/{row['stage']}/{row['benchmark']}": row["accuracy"] for row in rows}
        pairs = [pair for pair in found["comparisons"] if pair.get("subset", "all") == "all"]
        gains = {f"gain/{one['from']} to {one['to']}/{one['benchmark']}": one["difference"] for one in pairs}
        return {name: value for name, value in (accuracies | gains).items() if value is not None}


def stage_name(folder: Path) -> str:
    return folder.name.partition("-")[2]


def whole_lines_of(path: Path) -> list[str]:
    """The last line may still be being written."""
    text = path.read_text() if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def last_step(lines: Sequence[str]) -> int:
    return int(json.loads(lines[-1])["step"]) if lines else 0


def training_rows(path: Path) -> Iterator[TrackedAnswer]:
    for line in whole_lines_of(path)[:ROWS]:
        one = json.loads(line)
        verdict = {True: "right", False: "wrong", None: "unscored"}[one["correct"]]
        yield TrackedAnswer(one["question"], (), one["gold"], one["extracted"] or "", verdict, one["text"])


def evaluation_rows(path: Path, pictures: Path) -> Iterator[TrackedAnswer]:
    answers: Answers = read_answers(path)
    for sample in answers.samples[:ROWS]:
        kept = answers.problems[sample.problem_id]
        shown = tuple(file for name in kept.pictures if (file := pictures / name).is_file())
        said = sample.score.extracted or ""
        yield TrackedAnswer(kept.question, shown, kept.problem.answer, said, sample.verdict, sample.text)
