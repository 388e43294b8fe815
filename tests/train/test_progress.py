import io

import pytest
from rich.console import Console

from xreasoner.train.progress import Bar, Lines, progress_on, running


def test_where_nobody_watches_it_prints_few_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=200)
    progress = progress_on(console)
    assert isinstance(progress, Lines)
    progress.begin("sft", 100, done=40)
    for step in range(41, 101):
        progress.step(step, {"loss": 1.23456, "tokens/s": 12345.6})
    progress.end()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 12
    assert lines[0].startswith("sft 45/100  loss 1.23  tokens/s 12,346")


def test_a_terminal_gets_a_bar() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    progress = progress_on(console)
    assert isinstance(progress, Bar)
    progress.begin("sft", 10)
    progress.step(10, {"loss": 0.5})
    progress.end()
    assert "loss 0.5" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_fails_gives_the_terminal_back() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    progress = Bar(console)
    with pytest.raises(RuntimeError), running(progress, "sft", 10, 0):
        raise RuntimeError
    assert console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]
