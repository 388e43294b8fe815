"""Without the image, and what is left when that was enough; stages compared on the same items."""

import pytest
from tests.evals.scripted import answers, problem, sample

from xreasoner.evals.comparisons import (
    blind,
    change_between,
    compare_stages,
    image_needed,
    text_solvable,
    without_image,
)
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


def test_items_solved_blind_are_dropped() -> None:
    blind_answers = answers(sample(1, True, "blind"), sample(2, False, "blind"), sample(3, None, "blind"))
    solvable = text_solvable([blind_answers])
    assert solvable == {"p001"}
    needed = image_needed(answers(sample(1, True), sample(2, True), sample(3, False)), solvable)
    assert [one.problem_id for one in needed.samples] == ["p002-image", "p003-image"]
    assert list(needed.problems) == ["p002-image", "p003-image"]


def test_a_change_is_about_items_both_were_asked_and_graded_on() -> None:
    before = answers(sample(1, False), sample(2, False), sample(3, None), sample(4, True))
    after = answers(sample(2, True), sample(1, False), sample(3, True), sample(5, True))
    change = change_between(before, after)
    assert change is not None
    assert (change.n, change.difference) == (2, 0.5)
    assert change_between(before, answers(sample(9, True))) is None


def test_stages_are_compared_with_the_one_before_and_with_the_base() -> None:
    wrong, right = answers(sample(1, False)), answers(sample(1, True))
    by_stage = {"base": wrong, "sft": right, "rl": right}
    found = compare_stages("sums", by_stage, {"sft": "base", "rl": "sft"})
    assert [(one.before, one.after, one.change.difference) for one in found] == [
        ("base", "sft", 1.0),
        ("sft", "rl", 0.0),
        ("base", "rl", 1.0),
    ]
    assert found[0].as_json()["from"] == "base"


def test_a_branch_is_compared_with_what_it_was_made_from() -> None:
    one = answers(sample(1, True))
    parents = {"sft": "base", "unevaluated": "sft", "rl": "unevaluated", "rl-only": "base"}
    found = compare_stages("sums", {"base": one, "sft": one, "rl": one, "rl-only": one}, parents)
    pairs = [(one.before, one.after) for one in found]
    assert pairs == [("base", "sft"), ("sft", "rl"), ("base", "rl-only"), ("base", "rl")]
