"""A judge on a real server looks only for answers that the rules did not find."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rollout.chat_server import ChatServer, ServerReply, serving

from xreasoner.evals.missing_answers import judge_run, judged
from xreasoner.evals.regrade import regrade
from xreasoner.evals.samples import (
    Answers,
    KeptProblem,
    Sample,
    problems_path,
    read_samples,
    write_finished,
    write_problems,
)
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Problem, Score
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.server_engine.engine import ServerEngine

NOT_FOUND = Score(False, None, "no answer in the reply")
ROUNDABOUT = "First I looked.\nIt cannot be Yes.\nNor is anything missing, so there is one left."


FILMS = Problem("", ("Is there a mass?",), "B", "choice", choices=("Yes", "No"))


def sample(number: int, text: str, score: Score = NOT_FOUND) -> Sample:
    return Sample(f"p{number}", 0, "", score, False, "eos", 0, text)


def asked(*samples: Sample) -> Answers:
    ids = [one.problem_id for one in samples]
    return Answers({name: KeptProblem(replace(FILMS, id=name, item=name)) for name in ids}, samples)


def write(path: Path, *samples: Sample) -> None:
    path.parent.mkdir(parents=True)
    result = {"benchmark": "films", "accuracy": 0.5, "n": len(samples), "sampling": {"n": 1}}
    write_finished(path, samples, result)
    write_problems(problems_path(path), asked(*samples).problems.values())


def engine_of(server: ChatServer) -> ServerEngine:
    return ServerEngine(ServerSettings(url=server.url, model="small", exit_by="limit"))


def says(body: dict[str, Any]) -> ServerReply:
    asked = body["messages"][-1]["content"]
    assert "A: Yes\nB: No" in asked
    return ServerReply("B: No" if "one left" in asked else "NONE.")


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
            sample(3, "<think>one left", Score(False, None, "the thought is never closed")),
            False,
            "the thought is never closed",
        ),
        (sample(4, "<answer>A</answer>one left", Score(False, "A", "rules")), False, "rules"),
        (sample(5, "one left", Score(None, None, "the grader failed")), None, "the grader failed"),
    ],
    ids=["found", "none given", "nothing outside the thought", "the rules found one", "unscored"],
)
def test_only_missing_answers_are_looked_for(given: Sample, correct: bool | None, why: str) -> None:
    with serving(says) as server, Grader() as grader:
        (after,) = judged(asked(given), engine_of(server), "small", grader).samples
        assert len(server.requests) == (given.problem_id in ("p1", "p2"))
    assert (after.score.correct, after.score.why) == (correct, why)


def test_a_run_says_who_judged_it(tmp_path: Path) -> None:
    path = tmp_path / "evals" / "base" / "films.jsonl"
    write(path, sample(1, ROUNDABOUT), sample(2, "<answer>B</answer>", Score(True, "B", "")))
    with serving(says) as server, Grader() as grader:
        (done,) = judge_run(
            tmp_path,
            engine_of(server),
            "small",
            grader,
        )
    facts = json.loads(path.with_suffix(".json").read_text())
    assert (done.graded, len(done.changed)) == (1, 1)
    assert (facts["benchmark"], facts["judge"], facts["accuracy"], facts["missing"]) == (
        "films",
        "small",
        1.0,
        0,
    )
    assert [one.score.correct for one in read_samples(path)] == [True, True]


def test_grading_again_undoes_it(tmp_path: Path) -> None:
    path = tmp_path / "evals" / "base" / "films.jsonl"
    write(path, sample(1, ROUNDABOUT))
    with serving(says) as server, Grader() as grader:
        list(
            judge_run(
                tmp_path,
                engine_of(server),
                "small",
                grader,
            )
        )
        (done,) = regrade(tmp_path, grader)
    facts = json.loads(path.with_suffix(".json").read_text())
    assert (len(done.changed), facts["accuracy"], facts["missing"], "judge" in facts) == (1, 0.0, 1.0, False)
