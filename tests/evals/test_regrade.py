"""Kept answers graded again: without a model, with the key and kind they were asked with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run, says

from xreasoner.evals.regrade import regrade
from xreasoner.evals.samples import read_samples, write_samples
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.rewards.grade import Grader


def test_the_same_grader_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    run(ScriptedEngine(says), out, benchmark=replace(TEN, broken=(Broken("gone", "no image"),)))
    before = {path.name: path.read_bytes() for path in out.glob("sums.*")}
    with Grader() as grader:
        (done,) = regrade(tmp_path, grader)
    assert (done.path, done.graded, done.changed) == (out / "sums.jsonl", 11, ())
    assert {path.name: path.read_bytes() for path in out.glob("sums.*")} == before


def test_a_verdict_that_another_grader_gave_is_put_right_in_samples_and_summary(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    run(ScriptedEngine(says), out)
    samples = list(read_samples(out / "sums.jsonl"))
    write_samples(out / "sums.jsonl", [replace(samples[0], correct=False, why="old"), *samples[1:]])
    summary = json.loads((out / "sums.json").read_text())
    (out / "sums.json").write_text(json.dumps({**summary, "accuracy": 0.6}))
    with Grader() as grader:
        (done,) = regrade(tmp_path, grader)
    assert [(one.id, one.correct, other.correct) for one, other in done.changed] == [
        ("p000-text", False, True)
    ]
    assert list(read_samples(out / "sums.jsonl")) == samples
    assert json.loads((out / "sums.json").read_text()) == summary


def test_answers_from_before_their_kind_was_kept_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    run(ScriptedEngine(says), out, benchmark=Benchmark("sums", "text", "general", TEN.problems[:2]))
    write_samples(out / "sums.jsonl", [replace(one, kind="") for one in read_samples(out / "sums.jsonl")])
    with Grader() as grader, pytest.raises(ValueError, match="p000-text does not say how it is compared"):
        list(regrade(tmp_path, grader))
