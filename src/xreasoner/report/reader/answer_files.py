"""Finds the files of a run that hold answers: its evaluations, shorter budgets, and training rollouts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xreasoner.evals.samples import problems_path, read_result, result_path
from xreasoner.evals.task import BUDGET_FOLDER, is_asked
from xreasoner.report.results import stage_order
from xreasoner.storage.run_folder import stage_folders

AnswerKind = Literal["evaluation", "training"]
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class AnswerSource:
    path: Path
    run_dir: Path
    stage: str
    """As the reader shows it; shorter thinking budgets are stages of their own."""
    benchmark: str
    kind: AnswerKind
    modality: str = "text"
    domain: str = ""
    role: str = ""
    step: int = 0
    """The training step that sampled these answers."""

    @property
    def problems(self) -> Path | None:
        """Training rollouts hold their questions themselves."""
        return problems_path(self.path) if self.kind == "evaluation" else None

    @property
    def pictures(self) -> Path:
        return self.run_dir / "evals" / "pictures"


def answer_files(run_dir: Path) -> list[AnswerSource]:
    """In the order in which the reader shows them."""
    stages = stage_order(run_dir) if (run_dir / "evals").is_dir() else []
    evaluations = [file for stage in stages for file in evaluation_files(run_dir, stage)]
    evaluations.sort(key=lambda file: (file.role != "skill", file.domain != "general", file.benchmark))
    found = [*evaluations, *training_files(run_dir)]
    if not found:
        raise ValueError(
            f"{run_dir}: no answers: neither a finished evaluation under evals/ nor samples under stages/; "
            "run `xreasoner run` or `eval` first"
        )
    return found


def evaluation_files(run_dir: Path, stage: str) -> Iterator[AnswerSource]:
    """Finished ones that the run still asks for, then the same within shorter budgets."""
    folder = run_dir / "evals" / stage
    yield from finished_files(run_dir, folder, stage)
    for within in sorted(folder.glob(f"{BUDGET_FOLDER}*"), key=lambda path: (len(path.name), path.name)):
        named = f"{stage} within {within.name.removeprefix(BUDGET_FOLDER)}"
        yield from finished_files(run_dir, within, named, within.name)


def finished_files(
    run_dir: Path, folder: Path, stage: str, budget: str | None = None
) -> Iterator[AnswerSource]:
    for path in sorted(folder.glob("*.jsonl")):
        if result_path(path).exists() and is_asked(run_dir, path.stem, budget):
            facts = read_result(path)
            yield AnswerSource(
                path,
                run_dir,
                stage,
                path.stem,
                "evaluation",
                facts["modality"],
                facts["domain"],
                facts["role"],
            )


def training_files(run_dir: Path) -> Iterator[AnswerSource]:
    for stage, folder in stage_folders(run_dir).items():
        for path in sorted((folder / "samples").glob("step-*.jsonl")):
            if found := _STEP.fullmatch(path.stem):
                yield AnswerSource(path, run_dir, stage, f"{stage} rollouts", "training", step=int(found[1]))
