"""Each tracker through its real client, read back by its own reader. In an environment of their own."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.track.small_run import small_run, write_metrics

from xreasoner.track.follow import track

SCALARS = {("sft/loss", 1, 2.0), ("sft/loss", 2, 1.5), ("rl/reward", 3, 0.25), ("rl/held_out", 3, 0.5)}
NAMES = {name for name, _, _ in SCALARS}
LATER = ("rl/reward", 4, 0.75)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    return small_run(tmp_path / "run")


def show_twice(run: Path, name: str) -> None:
    """As after an interruption: a second process shows what the first has not."""
    for _ in range(2):
        command = [sys.executable, "-m", "xreasoner", "track", str(run), "--to", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        write_metrics(run, "2-rl", [{"step": 2, "reward": 0.75}])


def read_tensorboard(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "track" / "tensorboard")).Reload()


def tensorboard_scalars(run: Path) -> list[tuple[str, int, float]]:
    events = read_tensorboard(run)
    names = [name for name in events.Tags()["scalars"] if name.partition("/")[0] in ("sft", "rl")]
    return sorted((name, one.step, one.value) for name in names for one in events.Scalars(name))


def test_tensorboard(run: Path) -> None:
    show_twice(run, "tensorboard")
    events = read_tensorboard(run)
    assert tensorboard_scalars(run) == sorted([*SCALARS, LATER])
    assert [one.value for one in events.Scalars("accuracy/rl/sums")] == [0.5, 0.5]
    texts = set(events.Tags()["tensors"])
    assert {"recipe/text_summary", "rl/step 1/text_summary", "answers of rl/sums/text_summary"} <= texts


def test_trackio(run: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    show_twice(run, "trackio")
    (record,) = SQLiteStorage.get_run_records("small")
    logs = SQLiteStorage.get_logs("small", record["name"], run_id=record["id"])
    assert sorted(scalars_of(logs, "step")) == sorted([*SCALARS, LATER])
    assert any(one.get("accuracy/rl/sums") == 0.5 for one in logs)
    (table,) = [one["answers of rl/sums"] for one in logs if "answers of rl/sums" in one]
    (row,) = table["_value"]
    assert (row["question"], row["verdict"]) == ("1+2", "wrong")
    assert SQLiteStorage.get_run_config("small", record["name"], run_id=record["id"])["seed"] == 3


def test_mlflow(run: Path) -> None:
    from mlflow.tracking import MlflowClient

    show_twice(run, "mlflow")
    client = MlflowClient(f"sqlite:///{run / 'track' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    values = [(name, client.get_metric_history(found.info.run_id, name)) for name in NAMES]
    history = [(name, one.step, one.value) for name, steps in values for one in steps]
    assert sorted(history) == sorted([*SCALARS, LATER])
    assert found.data.metrics["gain/base to rl/sums"] == 0.25
    artifacts = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert artifacts == {"answers", "pictures", "recipe.yaml", "report.html"}


def test_wandb(run: Path) -> None:
    show_twice(run, "wandb")
    folder = run / "track" / "wandb"
    rows = [row for file in sorted(folder.glob("offline-run-*/*.wandb")) for row in wandb_rows(file)]
    assert sorted(scalars_of(rows, "_step")) == sorted([*SCALARS, LATER])
    tables = list(folder.glob("offline-run-*/files/media/table/**/*.json"))
    (answers,) = [json.loads(path.read_text()) for path in tables if "answers" in str(path)]
    assert answers["columns"] == ["question", "picture", "key", "answer", "verdict", "text"]
    assert answers["data"][0][3:5] == ["4", "wrong"]


def scalars_of(rows: list[dict[str, Any]], step: str) -> list[tuple[str, int, float]]:
    return [(name, row[step], row[name]) for row in rows for name in row if name in NAMES]


def wandb_rows(path: Path) -> list[dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in wandb_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = [(one.key or "/".join(one.nested_key), one.value_json) for one in record.history.item]
            rows.append({name: json.loads(value) for name, value in items})
    return rows


def wandb_records(file: bytes) -> Iterator[bytes]:
    """LevelDB's log format behind a header: blocks of 32 KiB, each piece after its crc, length and kind."""
    at, record = 7, b""
    while at + 7 <= len(file):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", file, at + 4)
        record += file[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def test_a_run_without_results_can_be_shown(run: Path) -> None:
    (run / "results.json").unlink()
    (run / "report.html").unlink()
    track(run, "tensorboard", lambda: True)
    assert (run / "track" / "tensorboard.json").is_file()


def test_two_processes_in_one_second_write_two_tensorboard_files(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    track(run, "tensorboard", lambda: True)
    write_metrics(run, "2-rl", [{"step": 2, "reward": 0.75}])
    track(run, "tensorboard", lambda: True)
    assert tensorboard_scalars(run) == sorted([*SCALARS, LATER])
