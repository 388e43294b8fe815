"""Real replies of real models, where their folder is at hand: see benchmarks/grader_real_replies.py."""

import os
from pathlib import Path

import pytest
from benchmarks.grader_real_replies import REAL_DATA, Reply, grade, gsm8k, math500, mathvista

from xreasoner.records import Score

FOLDER = Path(os.environ.get(REAL_DATA, ""))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get(REAL_DATA), reason=f"{REAL_DATA} names no folder of real replies"),
]


def disagreeing(graded: list[tuple[Reply, Score]]) -> list[tuple[str, str, str]]:
    return [
        (reply.group, reply.problem.id, score.why)
        for reply, score in graded
        if bool(score.correct) != reply.official
    ]


def test_every_solution_of_gsm8k_is_graded_as_published() -> None:
    graded = grade(gsm8k(FOLDER))
    assert len(graded) == 5276
    assert disagreeing(graded) == []


def test_every_key_of_math500_is_right_in_eight_forms() -> None:
    graded = grade(math500(FOLDER))
    assert len(graded) == 8 * 500
    assert disagreeing(graded) == []


def test_mathvista_differs_only_as_read_one_by_one() -> None:
    """The counts of docs/grader_real_replies.md: right by ours only, and by the official verdict only."""
    graded = grade(mathvista(FOLDER))
    found: dict[str, list[int]] = {}
    for reply, score in graded:
        counts = found.setdefault(reply.group, [0, 0])
        counts[not score.correct] += bool(score.correct) != reply.official
    assert found == {
        "bard": [2, 14],
        "gpt4_2shot_solution": [1, 134],
        "idefics_9b_instruct": [24, 15],
        "llava_llama_2_13b": [10, 69],
    }
