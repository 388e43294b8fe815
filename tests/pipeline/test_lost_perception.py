"""A stage that harms vision is named before the next one trains on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from xreasoner.evals.samples import result_path
from xreasoner.pipeline.run import is_measured, warn_of_lost_perception
from xreasoner.storage.checked_json import write_checked_json
from xreasoner.storage.journal import Journal
from xreasoner.storage.run_folder import Manifest


@pytest.mark.parametrize(
    ("before", "after", "high", "is_said"),
    [(0.8, 0.6, 0.68, True), (0.8, 0.7, 0.77, False), (0.8, 0.85, 0.9, False)],
)
def test_a_loss_beyond_chance_is_said(
    tmp_path: Path, before: float, after: float, high: float, is_said: bool
) -> None:
    for stage, result in (("base", {"accuracy": before}), ("sft", {"accuracy": after, "high": high})):
        path = tmp_path / "evals" / stage / "look.jsonl"
        path.parent.mkdir(parents=True)
        write_checked_json(result_path(path), result)
    benchmarks = [SimpleNamespace(role="perception", name="look"), SimpleNamespace(role="skill", name="x")]
    plan = SimpleNamespace(benchmarks=benchmarks, run_dir=tmp_path, is_evaluated=lambda name: True)
    stage = SimpleNamespace(name="sft", start="base")
    journal = Journal(Console(quiet=True), tmp_path / "log")
    warn_of_lost_perception(cast(Any, stage), cast(Any, plan), journal)
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert ("sft: perception fell from 80% to 60% (look)" in log) == is_said


def test_it_is_said_when_the_evaluation_ends_and_not_again_in_a_restarted_run(tmp_path: Path) -> None:
    assert not is_measured(tmp_path, "sft")
    Manifest({"checkpoint": "c"}).write(tmp_path / "evals" / "sft")
    assert not is_measured(tmp_path, "sft")
    Manifest({"checkpoint": "c"}, "done").write(tmp_path / "evals" / "sft")
    assert is_measured(tmp_path, "sft")
