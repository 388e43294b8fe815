"""A judge behind a real server looks for answers that the rules did not find, and for nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rollout.chat_server import Said, serving

from xreasoner.evals.missing_answers import judge_run, judged
from xreasoner.evals.regrade import regrade
from xreasoner.evals.samples import Sample, read_samples, write_samples
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.server_engine.engine import ApiEngine, Server

ROUNDABOUT = "First I looked.\nIt cannot be Yes.\nNor is anything missing, so there is one left."


def sample(number: int, text: str, **changes: Any) -> Sample:
    fresh = Sample(
        id=f"p{number}",
        item=f"p{number}",
        sample=0,
        asked="",
        question="Is there a mass?",
        choices=("Yes", "No"),
        pictures=(),
        tags={},
        gold="B",
        extracted=None,
        correct=False,
        why="no answer in the reply",
        forced=False,
        stop="eos",
        think_tokens=0,
        text=text,
        kind="choice",
    )
    return replace(fresh, **changes)


def says(body: dict[str, Any]) -> Said:
    asked = body["messages"][-1]["content"]
    assert "A: Yes\nB: No" in asked
    return Said("B: No" if "one left" in asked else "NONE.")


@pytest.mark.parametrize(
    ("given", "correct", "why"),
    [
        (
            sample(1, f"<think>x</think>{ROUNDABOUT}"),
            True,
            "the judge small found it: the last <answer>: option B by letter and text, the key",
        ),
        (sample(2, "I do not know.\nReally not."), False, "no answer in the reply"),
        (
            sample(3, "<think>one left", why="the thought is never closed"),
            False,
            "the thought is never closed",
        ),
        (sample(4, "<answer>A</answer>one left", extracted="A", why="rules"), False, "rules"),
        (sample(5, "one left", correct=None, why="the grader failed"), None, "the grader failed"),
    ],
    ids=["found", "none given", "nothing outside the thought", "the rules found one", "unscored"],
)
def test_only_missing_answers_are_looked_for(given: Sample, correct: bool | None, why: str) -> None:
    with serving(says) as server, Grader() as grader:
        (after,) = judged([given], ApiEngine(Server(server.url, "small")), "small", grader)
        assert len(server.asked) == (given.id in ("p1", "p2"))
    assert (after.correct, after.why) == (correct, why)


def test_a_run_says_who_judged_it(tmp_path: Path) -> None:
    path = tmp_path / "evals" / "base" / "films.jsonl"
    path.parent.mkdir(parents=True)
    write_samples(path, [sample(1, ROUNDABOUT), sample(2, "<answer>B</answer>", extracted="B", correct=True)])
    path.with_suffix(".json").write_text('{"benchmark": "films", "accuracy": 0.5}')
    with serving(says) as server, Grader() as grader:
        (done,) = judge_run(tmp_path, ApiEngine(Server(server.url, "small")), "small", grader)
    facts = json.loads(path.with_suffix(".json").read_text())
    assert (done.graded, len(done.changed)) == (1, 1)
    assert (facts["benchmark"], facts["judge"], facts["accuracy"], facts["missing"]) == (
        "films",
        "small",
        1.0,
        0,
    )
    assert [one.correct for one in read_samples(path)] == [True, True]


def test_grading_again_undoes_it(tmp_path: Path) -> None:
    path = tmp_path / "evals" / "base" / "films.jsonl"
    path.parent.mkdir(parents=True)
    write_samples(path, [sample(1, ROUNDABOUT)])
    path.with_suffix(".json").write_text("{}")
    with serving(says) as server, Grader() as grader:
        list(judge_run(tmp_path, ApiEngine(Server(server.url, "small")), "small", grader))
        (done,) = regrade(tmp_path, grader)
    facts = json.loads(path.with_suffix(".json").read_text())
    assert (len(done.changed), facts["accuracy"], facts["missing"], "judge" in facts) == (1, 0.0, 1.0, False)
