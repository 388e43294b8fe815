"""The shipped base reads images, answers one-step questions, and fails at many steps."""

import json

import pytest

from xreasoner.miniworld.base.accuracy import base_accuracies
from xreasoner.miniworld.base.make import MEASURED
from xreasoner.miniworld.pictures.worlds import QUICKSTART
from xreasoner.miniworld.problems import TAUGHT
from xreasoner.models.resolve import MINIWORLD as SHIPPED


@pytest.fixture(scope="module")
def noted() -> dict[str, float]:
    return json.loads((SHIPPED / MEASURED).read_text())


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 16 * 2**20


@pytest.mark.parametrize("family", TAUGHT)
def test_it_sees_what_it_reads_and_cannot_reason(family: str, noted: dict[str, float]) -> None:
    assert noted[f"one step, images, asked to think: {family}"] > 0.9
    for view in ("text", "images"):
        assert noted[f"one step, {view}: {family}"] > 0.8
        assert noted[f"many steps, {view}: {family}"] < 0.25
    assert noted[f"many steps, images, asked plainly: {family}"] < 0.35
    assert noted[f"one step with options, text: {family}"] > 0.8
    assert noted[f"read, text: {family}"] > 0.95
    assert noted[f"read, seen looks: {family}"] > 0.9


@pytest.mark.slow
def test_it_does_what_was_noted_when_it_was_made(noted: dict[str, float]) -> None:
    """Four standard errors of 60 problems, so that other processors may round otherwise."""
    for name, accuracy in base_accuracies(SHIPPED, QUICKSTART, 60, say=lambda line: None).items():
        spread = 4 * max(0.05, (accuracy * (1 - accuracy) / 60) ** 0.5)
        assert accuracy == pytest.approx(noted[name], abs=spread), name
