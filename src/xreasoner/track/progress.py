"""How far a run is, read from its folder alone: by the run's own terminal, or from another one."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import yaml

from xreasoner.storage.run_folder import METRICS, is_in_use, length_file, resident_memory, stage_folders
from xreasoner.track.run_reader import stage_name

RECENT = 20
"""Steps from whose time the rest is estimated."""
LOG_LINES = 50
PartState = Literal["waiting", "running", "done"]


@dataclass(frozen=True)
class RunPart:
    """A stage, or the evaluation of one."""

    name: str
    kind: str
    """sft, grpo or evaluation."""
    state: PartState
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NewestThought:
    where: str
    verdict: str
    text: str


@dataclass(frozen=True)
class RunProgress:
    title: str
    is_live: bool
    parts: tuple[RunPart, ...]
    curve: tuple[float, ...] = ()
    """Of the newest stage: its rewards or losses so far."""
    thought: NewestThought | None = None
    log: tuple[str, ...] = ()
    resident: int | None = None
    """Bytes of memory of the first process, where it runs on this machine."""

    @property
    def current(self) -> RunPart | None:
        return next((part for part in self.parts if part.state == "running"), None)


@dataclass
class GrowingFile:
    """Reads what was added since the last time; from the start where the file was written anew."""

    path: Path
    offset: int = 0
    inode: int = 0

    def new_lines(self) -> tuple[bool, list[str]]:
        """Whether it was written anew, and the whole lines that are new."""
        if not self.path.is_file():
            return False, []
        with self.path.open("rb") as file:
            status = self.path.stat()
            anew = status.st_ino != self.inode or status.st_size < self.offset
            self.inode, self.offset = status.st_ino, 0 if anew else self.offset
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        return anew, whole.decode(errors="replace").splitlines()


@dataclass
class StageLines:
    file: GrowingFile
    steps: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> list[dict[str, Any]]:
        """The steps so far, without measurements on held-out problems."""
        anew, lines = self.file.new_lines()
        known = [] if anew else self.steps
        self.steps = known + [values for line in lines if "lr" in (values := json.loads(line))]
        return self.steps


@dataclass
class AnswerLines:
    """The answers to a benchmark so far."""

    file: GrowingFile
    count: int = 0
    right: int = 0
    forced: int = 0
    newest: dict[str, Any] | None = None

    def read(self) -> "AnswerLines":
        anew, lines = self.file.new_lines()
        if anew:
            self.count = self.right = self.forced = 0
        for line in lines:
            self.newest = json.loads(line)
            self.count += 1
            self.right += self.newest["score"]["correct"] is True
            self.forced += bool(self.newest["forced"])
        return self


class ProgressReader:
    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._steps: dict[Path, StageLines] = {}
        self._answers: dict[Path, AnswerLines] = {}
        self._first_seen: dict[str, tuple[float, int]] = {}
        """Of each evaluation: when this reader saw it first, and its answers then."""
        self._log = GrowingFile(run_dir / "log")
        self._log_lines: list[str] = []

    def read(self) -> RunProgress:
        config = self._config()
        is_live = is_in_use(self._run_dir)
        parts = marked(tuple(self._parts(config)), is_live)
        newest = max(
            (lines for lines in self._steps.values() if lines.steps),
            key=lambda lines: lines.file.path.stat().st_mtime,
            default=None,
        )
        self._log_lines = (self._log_lines + self._log.new_lines()[1])[-LOG_LINES:]
        return RunProgress(
            title=f"{config.get('name', self._run_dir.name)}: {config.get('model', '')}",
            is_live=is_live,
            parts=parts,
            curve=tuple(one.get("reward", one["loss"]) or 0.0 for one in newest.steps) if newest else (),
            thought=self._thought(parts),
            log=tuple(self._log_lines),
            resident=resident_memory(self._run_dir) if is_live else None,
        )

    def _config(self) -> dict[str, Any]:
        recipe = self._run_dir / "recipe.yaml"
        return yaml.safe_load(recipe.read_text()) or {} if recipe.is_file() else {}

    def _parts(self, config: Mapping[str, Any]) -> Iterator[RunPart]:
        folders = stage_folders(self._run_dir)
        evaluation = config.get("evaluation") or {}
        names = ["base", *config.get("stages", {})] if config.get("stages") else []
        names += [one for one in self._evaluated() if one not in names]
        after = evaluation.get("after")
        for name in names:
            if name in config.get("stages", {}):
                yield self._stage(name, config["stages"][name]["kind"], folders.get(name))
            if evaluation.get("benchmarks") and (after is None or name in after):
                yield self._evaluation(name)

    def _evaluated(self) -> list[str]:
        folder = self._run_dir / "evals"
        return sorted(path.parent.name for path in folder.glob("*/manifest.json"))

    def _stage(self, name: str, kind: str, folder: Path | None) -> RunPart:
        if folder is None:
            return RunPart(name, kind, "waiting")
        path = folder / METRICS
        steps = self._steps.setdefault(path, StageLines(GrowingFile(path))).read()
        total = sum(read_lengths(length_file(self._run_dir, "stages", name)).values()) or None
        done, left = (steps[-1]["step"] if steps else 0), None
        if steps and total:
            left = fmean(seconds_of(one) for one in steps[-RECENT:]) * (total - done)
        is_done = state_of(folder) == "done"
        numbers = {key: value for key, value in (steps[-1] if steps else {}).items() if value is not None}
        return RunPart(name, kind, "done" if is_done else "running", done, total, left, numbers)

    def _evaluation(self, name: str) -> RunPart:
        folder = self._run_dir / "evals" / name
        if not folder.is_dir():
            return RunPart(name, "evaluation", "waiting")
        lengths = read_lengths(length_file(self._run_dir, "evals", name))
        paths = [folder / f"{one}.jsonl" for one in lengths] or sorted(folder.glob("*.jsonl"))
        finished = bool(paths) and all(path.with_suffix(".json").is_file() for path in paths)
        paths += [shard for path in paths for shard in folder.glob(f"shards/*/{path.name}")]
        read = [self._answers.setdefault(path, AnswerLines(GrowingFile(path))).read() for path in paths]
        done, total = sum(one.count for one in read), sum(lengths.values()) or None
        counts = {"right": sum(one.right for one in read), "forced": sum(one.forced for one in read)}
        numbers = {name: count / done for name, count in counts.items()} if done else {}
        state: PartState = "done" if finished else "running"
        return RunPart(name, "evaluation", state, done, total, self._time_left(name, done, total), numbers)

    def _time_left(self, name: str, done: int, total: int | None) -> float | None:
        began, before = self._first_seen.setdefault(name, (time.monotonic(), done))
        if total is None or done == before:
            return None
        return (time.monotonic() - began) / (done - before) * (total - done)

    def _thought(self, parts: tuple[RunPart, ...]) -> NewestThought | None:
        """Of the evaluation that runs, else of the newest rollouts that were kept."""
        running = next((part for part in parts if part.state == "running"), None)
        if running and running.kind == "evaluation":
            answers = [one for path, one in self._answers.items() if path.parent.name == running.name]
            if newest := next((one.newest for one in reversed(answers) if one.newest), None):
                where = f"{running.name}, {newest['problem_id']}"
                return NewestThought(where, verdict_of(newest["score"]["correct"]), newest["text"])
        folders = stage_folders(self._run_dir).values()
        kept = [path for folder in folders for path in (folder / "samples").glob("step-*.jsonl")]
        if not kept:
            return None
        path = max(kept, key=lambda path: path.stat().st_mtime)
        with path.open() as file:
            first = json.loads(file.readline())
        where = f"{stage_name(path.parent.parent)}, step {int(path.stem.partition('-')[2])}"
        return NewestThought(where, verdict_of(first["correct"]), f"{first['question']}\n{first['text']}")


def marked(parts: tuple[RunPart, ...], is_live: bool) -> tuple[RunPart, ...]:
    """Only the first unfinished part runs, and none where no process does."""
    first = next((place for place, part in enumerate(parts) if part.state != "done"), None)
    return tuple(
        part
        if part.state == "done"
        else replace(part, state="running" if is_live and place == first else "waiting")
        for place, part in enumerate(parts)
    )


def seconds_of(step: Mapping[str, float]) -> float:
    return step["seconds"] if "seconds" in step else step["rollout_seconds"] + step["update_seconds"]


def verdict_of(correct: bool | None) -> str:
    return {True: "right", False: "wrong", None: "unscored"}[correct]


def state_of(folder: Path) -> str:
    manifest = folder / "manifest.json"
    return json.loads(manifest.read_text())["state"] if manifest.is_file() else "started"


def read_lengths(path: Path) -> dict[str, int]:
    return json.loads(path.read_text()) if path.is_file() else {}
