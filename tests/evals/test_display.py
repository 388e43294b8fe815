"""The progress of a benchmark: running accuracy, forced exits, time left."""

import io

import pytest
from rich.console import Console

from xreasoner.evals import display
from xreasoner.evals.display import Tally, numbers, shown, time_left

HALF = Tally("sums", total=40, done=20, right=9, wrong=9, forced=5)


def test_numbers_leave_out_what_has_no_verdict() -> None:
    assert numbers(HALF) == "right 50.0%  forced 25%  unscored 2"
    assert numbers(Tally("sums", 40)) == "right 0.0%  forced 0%"


def test_time_left_counts_what_this_process_did() -> None:
    # 10 answers took 30 seconds, and of the other 20 none has begun.
    assert time_left(HALF, before=10, seconds=30, at_once=0) == "60 s left"
    assert time_left(HALF, before=19, seconds=30, at_once=0) == "10 min left"


def test_time_left_counts_answers_under_way_as_half_done() -> None:
    # 10 and half of 20 in 30 seconds, so 20 a half minute; half of 20 are left.
    assert time_left(HALF, before=10, seconds=30, at_once=64) == "15 s left"
    # 10 and half of 8 in 28 seconds; 20 less half of 8 are left.
    assert time_left(HALF, before=10, seconds=28, at_once=8) == "32 s left"


def test_lines_come_now_and_then_and_not_for_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), record=True, width=100)
    monkeypatch.setattr(display, "SECONDS_BETWEEN_LINES", 0.0)
    with shown(console, "base: sums") as show:
        for done in (20, 21, 40):
            show(Tally("sums", 40, done=done, right=done))
    said = console.export_text().splitlines()
    assert said[1].startswith("base: sums 21/40  right 100.0%  forced 0%  ") and said[1].endswith(" s left")
    assert len(said) == 2
    monkeypatch.setattr(display, "SECONDS_BETWEEN_LINES", 3600.0)
    with shown(console, "base: sums") as show:
        show(HALF)
    assert console.export_text() == ""
