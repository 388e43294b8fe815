import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from xreasoner.train.step_display import StepLines


def test_where_nobody_watches_it_prints_few_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=200)
    display = StepLines(console)
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


def test_whoever_watches_finds_the_number_of_steps(tmp_path: Path) -> None:
    display = StepLines(Console(file=io.StringIO()), tmp_path / "lengths" / "sft.json")
    display.begin("sft", 40)
    assert json.loads((tmp_path / "lengths" / "sft.json").read_text()) == {"steps": 40}
