"""Majority votes and pass@k, against counting every possible draw."""

from dataclasses import replace
from itertools import combinations

import pytest
from tests.evals.test_ablations import sample

from xreasoner.evals.samples import Sample
from xreasoner.evals.summary import summarise
from xreasoner.evals.votes import majority, mean_pass_at, pass_at


def said(extracted: str | None, correct: bool | None, choices: tuple[str, ...] = ()) -> Sample:
    return replace(sample(1, correct), extracted=extracted, choices=choices)


@pytest.mark.parametrize(("n", "right"), [(1, 0), (1, 1), (4, 1), (5, 3), (8, 0), (8, 8)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(n: int, right: int) -> None:
    grades = [True] * right + [False] * (n - right)
    for k in range(1, n + 1):
        draws = list(combinations(grades, k))
        assert pass_at(k, n, right) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_told_for_powers_of_two_and_all() -> None:
    found = mean_pass_at([[True, False, False, False, False, False], [False] * 6])
    assert list(found) == [1, 2, 4, 6]
    assert found == pytest.approx({1: 1 / 12, 2: (1 - 10 / 15) / 2, 4: (1 - 5 / 15) / 2, 6: 0.5})
    assert mean_pass_at([[True], [False]]) == {}


def test_the_most_frequent_answer_wins_however_it_is_written() -> None:
    assert majority([said("1/2", True), said("0.5", True), said("2", False), said("3", False)]) == 1
    assert majority([said("7", True), said(" 2. ", False), said("2", False)]) == 0
    options = ("yes", "no", "maybe")
    votes = [said("A", True, options), said("B: no", False, options), said("(B)", False, options)]
    assert majority(votes) == 0


def test_a_tie_counts_as_its_share_and_silence_does_not_vote() -> None:
    assert majority([said("7", True), said("2", False)]) == 0.5
    assert majority([said("7", True), said("2", False), said("3", False)]) == pytest.approx(1 / 3)
    assert majority([said("7", True), said(None, False), said(None, False), said("9", None)]) == 1
    assert majority([said(None, False)]) == 0


def test_a_summary_of_several_answers_has_both_and_of_one_has_neither() -> None:
    answers = [replace(said("7", True), sample=0), replace(said("7", True), sample=1)]
    answers += [replace(said("2", False), sample=2), replace(said(None, None), sample=3)]
    found = summarise(answers)
    assert (found.n, found.accuracy, found.majority) == (1, pytest.approx(2 / 3), 1)
    assert found.pass_at == pytest.approx({1: 2 / 3, 2: 1.0, 3: 1.0})
    single = summarise(answers[:1])
    assert (single.majority, single.pass_at) == (None, {})
