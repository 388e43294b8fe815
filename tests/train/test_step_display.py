import io
import time

import pytest
from rich.console import Console

from xreasoner.train.step_display import StepBar, StepLines, display_on, displaying


def test_where_nobody_watches_it_prints_few_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=200)
    display = display_on(console)
    assert isinstance(display, StepLines)
    display.begin("sft", 100, done=40)
    for step in range(41, 101):
        display.step(step, {"loss": 1.23456, "tokens/s": 12345.6})
    display.end()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 14
    assert lines[:2] == ["sft: resuming after step 40 of 100", "sft 41/100  loss 1.23  tokens/s 12,346"]
    assert lines[2].startswith("sft 45/100  loss 1.23  tokens/s 12,346  ")


def test_the_time_left_does_not_count_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1000.0, 1002.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=200)
    display = StepLines(console)
    display.begin("grpo", 4)
    for step in (1, 2):
        display.step(step, {})
    assert console.file.getvalue().splitlines()[-1].endswith("  4 s left")  # type: ignore[attr-defined]


def test_a_terminal_gets_a_bar() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    display = display_on(console)
    assert isinstance(display, StepBar)
    display.begin("sft", 10)
    display.step(10, {"loss": 0.5})
    display.end()
    assert "loss 0.5" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_fails_gives_the_terminal_back() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    display = StepBar(console)
    with pytest.raises(RuntimeError), displaying(display, "sft", 10, 0):
        raise RuntimeError
    assert console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]
