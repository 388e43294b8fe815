"""A tracker runs beside a run: it sees what comes, and a broken one stops nothing."""

from pathlib import Path

import pytest
from tests.track.small_run import small_run, write_metrics

from xreasoner.track import follow
from xreasoner.track.follow import tracking
from xreasoner.track.trackers import TRACKERS, refuse_uninstalled

CLIENT = """
import json, os
def init(project, name, config, resume, **others):
    write({"project": project, "name": name, "seed": config["seed"]})
def log(values, step=None):
    write({"step": step, **{name: str(value) for name, value in values.items()}})
def finish():
    write({"finished": True})
def Image(path):
    return str(path)
def Table(columns, data):
    return data
def write(line):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(line) + "\\n")
"""
"""Stands for a client here, where no tracker is installed; tests/trackers has the real ones."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run(tmp_path / "run")


def give_client(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "trackio.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


@pytest.mark.slow
def test_it_sees_what_comes_while_the_run_goes_on_and_ends_with_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, said = give_client(CLIENT, tmp_path, monkeypatch), list[str]()
    with tracking(run, ("trackio",), said.append):
        write_metrics(run, "2-rl", [{"step": 2, "reward": 0.75}])
    lines = seen.read_text().splitlines()
    assert lines[0] == '{"project": "small", "name": "run", "seed": 3}'
    assert '{"step": 4, "rl/reward": "0.75"}' in lines
    assert lines[-1] == '{"finished": true}'
    assert said == []


@pytest.mark.slow
def test_one_that_fails_is_a_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_client("def init(*a, **k): raise RuntimeError('no network')", tmp_path, monkeypatch)
    said = list[str]()
    with tracking(run, ("trackio",), said.append):
        pass
    (line,) = said
    assert line.startswith("track: trackio failed, see ")
    assert line.endswith(f"xreasoner track {run} --to trackio")
    assert "no network" in (run / "track" / "trackio.log").read_text()


@pytest.mark.slow
def test_one_that_hangs_is_ended(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_client("import time\ntime.sleep(600)", tmp_path, monkeypatch)
    monkeypatch.setattr(follow, "LAST_SECONDS", 0.5)
    said = list[str]()
    with tracking(run, ("trackio",), said.append):
        pass
    assert said[0].startswith("track: trackio did not finish within 0 s; the run is complete without it")


def test_a_tracker_that_is_not_installed_is_refused_before_the_run() -> None:
    missing = [name for name in TRACKERS if name != "tensorboard"]
    with pytest.raises(ValueError, match=r"^track: \w+ needs a package; pip install \w+"):
        refuse_uninstalled(tuple(missing))
