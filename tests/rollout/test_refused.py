"""All questions refused: said early, once, with what to change."""

from dataclasses import replace

from tests.evals.scripted import rollout

from xreasoner.records import Sampling
from xreasoner.rollout.refused import watched

SAMPLING = Sampling(think_budget=16_384, answer_budget=2048)
CONTEXT = "400: This model's maximum context length is 1024 tokens"


def said_of(troubles: list[str]) -> list[str]:
    said, rollouts = list[str](), [replace(rollout("a", 0, ""), trouble=one) for one in troubles]
    assert list(watched(rollouts, SAMPLING, said.append)) == rollouts
    return said


def test_the_reason_and_the_budgets_are_named_once() -> None:
    assert said_of([CONTEXT] * 9) == [
        f"the first 5 questions were all refused: {CONTEXT}; lower think_budget and answer_budget, "
        "which are 16,384 and 2,048 tokens"
    ]


def test_other_reasons_stand_alone() -> None:
    assert said_of(["401: no key"] * 5) == ["the first 5 questions were all refused: 401: no key"]


def test_some_refusals_are_no_alarm() -> None:
    assert said_of(["", *[CONTEXT] * 9]) == []
    assert said_of([CONTEXT] * 4) == []
