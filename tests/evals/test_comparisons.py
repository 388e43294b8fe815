"""Items that need the image, and comparisons of stages on the same items."""

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import pytest
from scipy.stats import binom
from tests.evals.scripted import answers, problem, sample

from xreasoner.evals.comparisons import (
    Judges,
    References,
    blind,
    change_between,
    compare_stages,
    least_above_chance,
    text_solvable,
    without_image,
)
from xreasoner.evals.samples import Answers
from xreasoner.evals.summary import item_scores
from xreasoner.evals.task import Benchmark


def test_without_image_leaves_the_words_as_they_are() -> None:
    shown = problem(4, picture=True)
    unseen = without_image(shown)
    assert unseen.question == (" read it",)
    assert (unseen.item, unseen.answer) == (shown.item, shown.answer)
    assert unseen.id != shown.id and not unseen.pictures


def test_blind_keeps_every_item_and_marks_its_role() -> None:
    shown = Benchmark("sums-image", "image", "general", (problem(1, True), problem(2, True)))
    unseen = blind(shown)
    assert (unseen.name, unseen.role, unseen.modality) == ("sums-image-without-image", "blind", "text")
    assert [one.item for one in unseen.problems] == ["p001", "p002"]
    with pytest.raises(ValueError, match="no images"):
        blind(Benchmark("sums", "text", "general", (problem(1),)))


def test_items_solved_without_the_image_are_dropped() -> None:
    blind_answers = answers(sample(1, True, "blind"), sample(2, False, "blind"), sample(3, None, "blind"))
    shown = answers(sample(1, True), sample(2, True), sample(3, False))
    needed = Judges((blind_answers,), are_compared=False).needing_image(shown)
    assert [one.problem_id for one in needed.samples] == ["p002-image", "p003-image"]
    assert list(needed.problems) == ["p002-image", "p003-image"]


@pytest.mark.parametrize(
    ("n", "options", "least"),
    # By hand: P(3 of 4 by guessing among 4) is 0.0508, P(4 of 4) 0.0039; P(5 of 8) 0.0273, P(4 of 8) 0.114.
    [(1, 4, 1), (2, 4, 2), (4, 4, 4), (8, 4, 5), (4, 10, 3), (3, 0, 1), (5, 1, 5)],
)
def test_an_item_is_text_solvable_above_chance(n: int, options: int, least: int) -> None:
    chance = 1 / options if options else 0.0
    assert least_above_chance(n, chance) == least
    if n > 1:
        assert binom.sf(least - 1, n, chance) <= 0.05 or least == n
        assert least == 1 or binom.sf(least - 2, n, chance) > 0.05
    choices = tuple("abcdefghij"[:options])
    for right, solvable in ((least - 1, False), (least, True)):
        graded = [sample(1, number < right, "blind", epoch=number) for number in range(n)]
        assert (text_solvable([answers(*graded, choices=choices)]) == {"p001"}) == solvable


def test_references_come_from_outside_the_comparison() -> None:
    names = ("base", "sft", "rl")
    by_stage = {name: answers(sample(i, True, "blind")) for i, name in enumerate(names)}
    other = answers(sample(9, True, "blind"))
    named = References(by_stage, named=("base",))
    assert named.judges_for(("sft", "rl")) == Judges((by_stage["base"],), are_compared=False)
    # Without a reference left, a pair has the judges of the whole table, so both keep the same items.
    every = Judges(tuple(by_stage.values()), are_compared=True)
    assert named.judges_for(("base", "sft")) == named.judges_for(names) == every
    assert References(by_stage).judges_for(("sft", "rl")) == References(by_stage).judges_for(names) == every
    outside = References(by_stage, (), (other,))
    assert outside.judges_for(("base", "sft")) == Judges((other,), are_compared=False)
    assert References({"base": by_stage["base"]}).judges_for(("base", "sft")) is None


def test_half_of_the_samples_judge_and_the_other_half_is_measured() -> None:
    """Item 1 is solved blind in an odd epoch, which judges; item 2 in an even one, which does not."""
    blind_answers = answers(
        *(sample(i, epoch == i % 2, "blind", epoch) for i in (1, 2) for epoch in range(2))
    )
    shown = answers(*(sample(i, True, "image", epoch) for i in (1, 2) for epoch in range(2)))
    needed = Judges((blind_answers,), are_compared=True).needing_image(shown)
    assert [one.key for one in needed.samples] == [("p002-image", 0)]


ITEMS, ROUNDS = 200, 30


def luck(rng: random.Random, epochs: int, skill: Callable[[int], float]) -> dict[str, Answers]:
    """A model that guesses among four options unless it knows; what it guesses, it guesses in both forms."""
    right = {(i, e): rng.random() < skill(i) for i in range(ITEMS) for e in range(epochs)}
    return {
        view: answers(*(sample(i, found, view, e) for (i, e), found in right.items()), choices=tuple("abcd"))
        for view in ("image", "blind")
    }


def gain(first: dict[str, Answers], second: dict[str, Answers], judges: Judges) -> float:
    """The mean difference on the items kept."""
    means = [
        fmean(filled(item_scores(judges.needing_image(one["image"]).samples))) for one in (first, second)
    ]
    return means[1] - means[0]


def filled(scores: dict[str, float | None]) -> list[float]:
    return [score for score in scores.values() if score is not None]


@pytest.mark.parametrize("epochs", [1, 4])
def test_two_identical_models_show_no_difference(epochs: int) -> None:
    """The first model alone as reference would give the second one a gain from nothing."""
    rng, found, naive = random.Random(1), list[float](), list[float]()
    skills = [rng.choice((0.25, 0.25, 0.6)) for _ in range(ITEMS)]
    for _ in range(ROUNDS):
        first, second = (luck(rng, epochs, skills.__getitem__) for _ in range(2))
        references = References({"first": first["blind"], "second": second["blind"]}, named=("first",))
        judges = references.judges_for(("first", "second"))
        assert judges is not None and judges.are_compared
        found.append(gain(first, second, judges))
        naive.append(gain(first, second, Judges((first["blind"],), are_compared=False)))
    error = stdev(found) / math.sqrt(ROUNDS)
    assert abs(fmean(found)) <= 3 * error and error < 0.01
    assert fmean(naive) > (0.15 if epochs == 1 else 0.01)


def test_what_a_model_really_gains_is_seen() -> None:
    """The second model reads the image in half of the items that the first one guesses."""
    rng, found = random.Random(2), list[float]()
    for _ in range(ROUNDS):
        first = luck(rng, 4, lambda i: 0.25)
        blind_second = luck(rng, 4, lambda i: 0.25)
        second = luck(rng, 4, lambda i: 1.0 if i % 2 else 0.25) | {"blind": blind_second["blind"]}
        found.append(gain(first, second, Judges((first["blind"], second["blind"]), are_compared=True)))
    assert fmean(found) == pytest.approx(0.375, abs=0.03)


def test_a_change_is_about_items_both_were_asked_and_graded_on() -> None:
    before = answers(sample(1, False), sample(2, False), sample(3, None), sample(4, True))
    after = answers(sample(2, True), sample(1, False), sample(3, True), sample(5, True))
    change = change_between(before, after)
    assert change is not None
    assert (change.n, change.difference) == (2, 0.5)
    assert change_between(before, answers(sample(9, True))) is None


def only(by_stage: dict[str, Answers]) -> Callable[[Sequence[str]], dict[str, Answers]]:
    return lambda stages: {stage: by_stage[stage] for stage in stages}


def test_stages_are_compared_with_the_one_before_and_with_the_base() -> None:
    wrong, right = answers(sample(1, False)), answers(sample(1, True))
    by_stage = {"base": wrong, "sft": right, "rl": right}
    found = compare_stages("sums", list(by_stage), {"sft": "base", "rl": "sft"}, only(by_stage))
    assert [(one.before, one.after, one.change.difference) for one in found] == [
        ("base", "sft", 1.0),
        ("sft", "rl", 0.0),
        ("base", "rl", 1.0),
    ]
    assert found[0].as_json()["from"] == "base"


def test_a_branch_is_compared_with_what_it_was_made_from() -> None:
    one = answers(sample(1, True))
    parents = {"sft": "base", "unevaluated": "sft", "rl": "unevaluated", "rl-only": "base"}
    by_stage = dict.fromkeys(("base", "sft", "rl", "rl-only"), one)
    found = compare_stages("sums", list(by_stage), parents, only(by_stage))
    pairs = [(one.before, one.after) for one in found]
    assert pairs == [("base", "sft"), ("sft", "rl"), ("base", "rl-only"), ("base", "rl")]
