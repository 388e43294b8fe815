"""The trackers, each through its own client. They are optional packages: each is imported where it opens."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from xreasoner.track.run_reader import RunReader, StepValues, TrackedAnswers

COLUMNS = ("question", "picture", "key", "answer", "verdict", "text")


class Tracker(Protocol):
    run_id: str
    """By which the same run is opened again."""

    def values(self, values: StepValues) -> None: ...

    def answers(self, table: TrackedAnswers) -> None: ...

    def results(self, values: Mapping[str, float], report: Path) -> None:
        """At the end of a run; `report` is its page."""
        ...

    def close(self) -> None: ...


class TrackioRun:
    """On this machine, without an account; `trackio show` opens it."""

    def __init__(self, reader: RunReader) -> None:
        import trackio

        self._client, self.run_id = trackio, reader.run_dir.resolve().name
        quiet: dict[str, Any] = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        config = reader.config()
        trackio.init(reader.project, name=self.run_id, config=config, resume="allow", **quiet)

    def values(self, values: StepValues) -> None:
        self._client.log(dict(values.values), step=values.step)

    def answers(self, table: TrackedAnswers) -> None:
        rows = rows_of(table, lambda path: self._client.Image(path))
        self._client.log({table.name: self._client.Table(columns=list(COLUMNS), data=rows)}, step=table.step)

    def results(self, values: Mapping[str, float], report: Path) -> None:
        self._client.log(dict(values))

    def close(self) -> None:
        self._client.finish()


class TensorboardRun:
    """Event files in `track/tensorboard`; `tensorboard --logdir RUN/track` opens them."""

    def __init__(self, reader: RunReader) -> None:
        from tensorboardX import SummaryWriter

        self.run_id, self._last_step = "tensorboard", 0
        # The client names a file after the second, and would write over that of a process before it.
        folder, suffix = reader.run_dir / "track" / self.run_id, f".{time.time_ns()}"
        self._writer = SummaryWriter(str(folder), filename_suffix=suffix)
        if not reader.shown.run_id:
            self._writer.add_text("recipe", as_code(reader.config()))

    def values(self, values: StepValues) -> None:
        self._last_step = values.step
        for name, value in values.values.items():
            self._writer.add_scalar(name, value, values.step)

    def answers(self, table: TrackedAnswers) -> None:
        for row in rows_of(table, lambda path: path.name):
            text = "\n\n".join(
                f"**{name}**\n\n{as_code(cell)}" for name, cell in zip(COLUMNS, row, strict=True)
            )
            self._writer.add_text(table.name, text, table.step)

    def results(self, values: Mapping[str, float], report: Path) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._last_step)

    def close(self) -> None:
        self._writer.close()


class WandbRun:
    """Weights & Biases; WANDB_MODE=offline keeps it in `track/wandb`."""

    def __init__(self, reader: RunReader) -> None:
        import wandb

        self._client = wandb
        name, folder = reader.run_dir.resolve().name, reader.run_dir / "track"
        self._run = wandb.init(
            project=reader.project,
            name=name,
            id=reader.shown.run_id or None,
            resume="allow",
            config=reader.config(),
            dir=str(folder),
        )
        self.run_id = str(self._run.id)

    def values(self, values: StepValues) -> None:
        self._run.log(dict(values.values), step=values.step)

    def answers(self, table: TrackedAnswers) -> None:
        rows = rows_of(table, lambda path: self._client.Image(str(path)))
        # W&B drops what comes with an earlier step than the last one.
        step = max(table.step, self._run.step)
        self._run.log({table.name: self._client.Table(columns=list(COLUMNS), data=rows)}, step=step)

    def results(self, values: Mapping[str, float], report: Path) -> None:
        self._run.summary.update(dict(values))
        if report.is_file():
            self._run.log({"report": self._client.Html(str(report))}, step=self._run.step)

    def close(self) -> None:
        self._run.finish()


class MlflowRun:
    """The server of MLFLOW_TRACKING_URI, or by default the database `track/mlflow.db`."""

    def __init__(self, reader: RunReader) -> None:
        import mlflow

        self._client = mlflow
        if not mlflow.is_tracking_uri_set():
            folder = (reader.run_dir / "track").resolve()
            mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
            if mlflow.get_experiment_by_name(reader.project) is None:
                # By default pictures and pages would go to the working directory.
                mlflow.create_experiment(reader.project, artifact_location=str(folder / "mlflow"))
        mlflow.set_experiment(reader.project)
        before = reader.shown.run_id or None
        run = mlflow.start_run(before, run_name=None if before else reader.run_dir.resolve().name)
        self.run_id = str(run.info.run_id)
        if not before:
            mlflow.log_dict(reader.config(), "recipe.yaml")

    def values(self, values: StepValues) -> None:
        self._client.log_metrics(named_for_mlflow(values.values), step=values.step)

    def answers(self, table: TrackedAnswers) -> None:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows_of(table, lambda path: path.name)]
        self._client.log_dict({"step": table.step, "rows": rows}, f"answers/{table.name}.json")
        for picture in {path for row in table.rows for path in row.pictures}:
            self._client.log_artifact(str(picture), "pictures")

    def results(self, values: Mapping[str, float], report: Path) -> None:
        self._client.log_metrics(named_for_mlflow(values))
        if report.is_file():
            self._client.log_artifact(str(report))

    def close(self) -> None:
        self._client.end_run()


def named_for_mlflow(values: Mapping[str, float]) -> dict[str, float]:
    """It allows fewer characters in a name."""
    return {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in values.items()}


def rows_of(table: TrackedAnswers, show: Callable[[Path], Any]) -> list[list[Any]]:
    """In the order of COLUMNS, with the first picture of each question."""
    return [
        [
            row.question,
            show(row.pictures[0]) if row.pictures else None,
            row.key,
            row.answer,
            row.verdict,
            row.text,
        ]
        for row in table.rows
    ]


def as_code(value: Any) -> str:
    """What a model wrote must not be rendered as Markdown."""
    return "\n".join(f"    {line}" for line in str(value).splitlines())


@dataclass(frozen=True)
class TrackerPackage:
    module: str
    install: str
    open: Callable[[RunReader], Tracker]


TRACKERS: dict[str, TrackerPackage] = {
    "trackio": TrackerPackage("trackio", "trackio", TrackioRun),
    "tensorboard": TrackerPackage("tensorboardX", "tensorboardX", TensorboardRun),
    "wandb": TrackerPackage("wandb", "wandb", WandbRun),
    "mlflow": TrackerPackage("mlflow", "mlflow", MlflowRun),
}


def refuse_uninstalled(names: tuple[str, ...]) -> None:
    """Before a run, not after its first hour."""
    for name in names:
        package = TRACKERS[name]
        if find_spec(package.module) is None:
            raise ValueError(f"track: {name} needs a package; pip install {package.install}")
