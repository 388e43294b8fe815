"""Warnings before and in the first steps of a stage."""

from typing import Any

import pytest
from tests.train.rollouts import settings as grpo_settings
from tests.train.test_sft import settings as sft_settings

from xreasoner.train.warn import GrpoWatch, warn_of_settings, why_no_signal

NOTHING = {"skipped": 1.0, "correct": 0.0, "unscored": 0.0, "cut": 0.0, "missing": 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skipped": 0.9}, ""),
        ({"unscored": 1.0}, "no answer could be judged"),
        ({"correct": 1.0}, "use harder problems"),
        ({"correct": 0.5}, "raise samples_per_prompt"),
        ({"cut": 1.0, "missing": 1.0}, "raise think_budget and answer_budget"),
        ({"missing": 0.95}, "or add the reward `form`"),
        ({"missing": 0.5}, "the problems are too hard"),
    ],
)
def test_the_likely_cause_is_named(changes: dict[str, float], said: str) -> None:
    found = why_no_signal(NOTHING | changes)
    assert (said in found) if said else found == ""


@pytest.mark.parametrize(
    ("settings", "steps", "parameters", "said"),
    [
        (sft_settings(lr=1e-5), 19, 7e9, ["sft: only 19 optimizer steps"]),
        (sft_settings(lr=1e-5), 20, 7e9, []),
        (sft_settings(lr=1e-3), 400, 7e9, ["sft: lr 0.001 is unusually high for all weights of 7.0 B"]),
        (sft_settings(lr=1e-3), 400, 1e6, []),
        (sft_settings(lr=1e-6, lora={"rank": 8}), 400, 7e9, ["unusually low for adapters of 7.0 B"]),
        (grpo_settings(lr=1e-4), 400, 7e9, ["grpo: lr 0.0001 is unusually high for all weights"]),
        (grpo_settings(lr=1e-4), 5, 7e9, ["lower prompts_per_step", "unusually high"]),
        (grpo_settings(lr=1e-5, lora={"rank": 8}), 400, 7e9, []),
    ],
)
def test_settings_that_are_likely_wrong(
    settings: Any, steps: int, parameters: float, said: list[str]
) -> None:
    found = list[str]()
    warn_of_settings(settings, steps, int(parameters), found.append)
    assert len(found) == len(said)
    for line, part in zip(found, said, strict=True):
        assert part in line


GOOD = NOTHING | {"skipped": 0.2, "correct": 0.4, "forced": 0.1, "think_tokens": 30.0}


def said_in(steps: int, values: dict[str, float]) -> list[str]:
    said = list[str]()
    watch = GrpoWatch(said.append)
    for step in range(1, steps + 1):
        watch.see(step, values)
    return said


def test_a_good_run_is_silent() -> None:
    assert said_in(8, GOOD) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"forced": 0.95}, "grpo step 1: 95% of the thoughts reach think_budget; raise it"),
        ({"think_tokens": 0.0}, "no reply has a thought"),
    ],
)
def test_thoughts_that_are_forced_or_missing(changes: dict[str, float], expected: str) -> None:
    (line,) = said_in(8, GOOD | changes)
    assert expected in line


@pytest.mark.parametrize(("correct", "cure"), [(0.95, "use harder problems"), (0.02, "use easier problems")])
def test_little_signal_in_five_steps_is_said_once(correct: float, cure: str) -> None:
    values = GOOD | {"skipped": 0.9, "correct": correct}
    assert said_in(4, values) == []
    (line,) = said_in(12, values)
    assert cure in line and "90% of the groups" in line
