"""The shipped base reads images, answers one-step questions, and fails at many steps."""

import json

import pytest

from xreasoner.miniworld.problems import TAUGHT
from xreasoner.miniworld.tied.tied_accuracy import base_accuracies
from xreasoner.miniworld.tied.tied_base import MEASURED
from xreasoner.models.resolve import MINIWORLD as SHIPPED


@pytest.fixture(scope="module")
def noted() -> dict[str, float]:
    return json.loads((SHIPPED / MEASURED).read_text())


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 8 * 2**20


@pytest.mark.parametrize("family", TAUGHT)
def test_it_sees_what_it_reads_and_cannot_reason(family: str, noted: dict[str, float]) -> None:
    for view in ("text", "image"):
        assert noted[f"one step {family} {view}"] > noted[f"many steps {family} {view}"]
        assert noted[f"many steps {family} {view}"] < 0.25
        assert noted[f"read {family} {view}"] > 0.95
    assert abs(noted[f"one step {family} image"] - noted[f"one step {family} text"]) < 0.1


@pytest.mark.slow
def test_it_does_what_was_noted_when_it_was_made(noted: dict[str, float]) -> None:
    """Four standard errors of 60 problems, so that other processors may round otherwise."""
    for name, accuracy in base_accuracies(SHIPPED, 60, say=lambda line: None).items():
        spread = 4 * max(0.05, (accuracy * (1 - accuracy) / 60) ** 0.5)
        assert accuracy == pytest.approx(noted[name], abs=spread), name
