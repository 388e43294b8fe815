"""Existing answers are graded again without a model, with their original key and kind."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run, says

from xreasoner.evals.regrade import regrade
from xreasoner.evals.samples import read_result, read_samples, write_finished
from xreasoner.evals.task import Broken
from xreasoner.records import Score
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
    summary = read_result(out / "sums.jsonl")
    wrong = replace(samples[0], score=Score(False, "1", "old"))
    write_finished(out / "sums.jsonl", [wrong, *samples[1:]], {**summary, "accuracy": 0.6})
    with Grader() as grader:
        (done,) = regrade(tmp_path, grader)
    assert [(one.problem_id, one.score.correct, other.score.correct) for one, other in done.changed] == [
        ("p000-text", False, True)
    ]
    assert list(read_samples(out / "sums.jsonl")) == samples
    assert read_result(out / "sums.jsonl") == summary


def test_answers_of_another_version_are_refused_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    run(ScriptedEngine(says), out)
    (out / "sums.jsonl").write_text('{"id": "p000", "correct": true}\n')
    with Grader() as grader, pytest.raises(ValueError, match=r"sums.jsonl, line 1 is damaged"):
        list(regrade(tmp_path, grader))
    (out / "problems" / "sums.jsonl").unlink()
    with Grader() as grader, pytest.raises(ValueError, match=r"problems/sums.jsonl is missing"):
        list(regrade(tmp_path, grader))
