"""The examples run as written and reach the stated results."""

import runpy
from pathlib import Path
from statistics import fmean

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_one_short_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 150


@pytest.mark.slow
def test_minimal_sft_learns_to_reason() -> None:
    losses, before, after = runpy.run_path(str(EXAMPLES / "minimal_sft.py"))["main"]()
    assert fmean(losses[-10:]) < 0.15
    assert before < 0.3 and after > 0.8


@pytest.mark.slow
def test_minimal_grpo_raises_the_reward() -> None:
    rewards = runpy.run_path(str(EXAMPLES / "minimal_grpo.py"))["main"]()
    assert fmean(rewards[:3]) < 0.9
    assert fmean(rewards[-5:]) > 0.95
