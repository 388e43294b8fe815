"""The wall clock is set back and forward while a run goes on: nothing changes, and time limits hold."""

import itertools
import time
from pathlib import Path

import pytest
from tests.faults.runs import outcome, run

from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader

DAY = 86_400.0
OFFSETS = (0, DAY, -DAY, 30, -30, 3650 * DAY, -3650 * DAY)


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now, offsets = time.time, itertools.cycle(OFFSETS)
    monkeypatch.setattr(time, "time", lambda: now() + next(offsets))


def test_a_run_ends_the_same(
    tiny_base: Path, tmp_path: Path, unbroken: dict[str, bytes], jumping_clock: None
) -> None:
    run(tiny_base, tmp_path / "out")
    assert outcome(tmp_path / "out") == unbroken


def test_a_grader_ends_at_its_limit_and_not_before(jumping_clock: None) -> None:
    problem = Problem("p", ("?",), "3", "math")
    with Grader(workers=1, seconds=0.5) as grader:
        assert grader.score(problem, "<answer>2+1</answer>").correct
        began = time.monotonic()
        hostile = grader.score(problem, "<answer>9^{9^{9^9}}</answer>")
        assert (
            not hostile.correct and hostile.why == "the last <answer>: the grader took more than 0.5 seconds"
        )
        assert 0.4 < time.monotonic() - began < 30
