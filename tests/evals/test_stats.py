"""Against scipy, against published examples, and against what intervals promise: coverage."""

import math
import random

import pytest
from scipy.stats import binomtest

from xreasoner.evals.stats import (
    holm,
    items_needed,
    mcnemar_p,
    newcombe_interval,
    paired_difference,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (15, 148), (499, 500)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(k: int, n: int, confidence: float) -> None:
    theirs = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(k, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_knows_nothing_of_no_items() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilsons_published_example() -> None:
    # Newcombe 1998, 81 of 263: 0.2553 to 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (1, 7), (7, 1), (12, 12), (40, 75), (300, 420)]
)
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    theirs = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_of_many_items_is_quick_and_small() -> None:
    assert 0 < mcnemar_p(5000, 6000) < 1e-20


def test_newcombe_without_correlation_is_the_unpaired_hybrid_score_interval() -> None:
    # 40 of 80 against 24 of 80, phi = 0.
    both, only_a, only_b, neither = 12, 28, 12, 28
    (low_a, high_a), (low_b, high_b) = wilson_interval(40, 80), wilson_interval(24, 80)
    low = -0.2 - math.hypot(0.3 - low_b, high_a - 0.5)
    high = -0.2 + math.hypot(high_b - 0.3, 0.5 - low_a)
    assert newcombe_interval(both, only_a, only_b, neither) == pytest.approx((low, high))


def test_newcombe_is_antisymmetric_and_narrower_when_models_agree() -> None:
    low, high = newcombe_interval(30, 5, 15, 50)
    back = newcombe_interval(30, 15, 5, 50)
    assert (low, high) == pytest.approx((-back[1], -back[0]))
    apart = newcombe_interval(16, 19, 29, 36)  # the same margins, hardly correlated
    assert high - low < apart[1] - apart[0]


def test_newcombe_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered, rounds = random.Random(0), 0, 1500
    cells = ("both", "only_a", "only_b", "neither")
    for _ in range(rounds):
        drawn = rng.choices(cells, (0.3, 0.1, 0.25, 0.35), k=60)
        low, high = newcombe_interval(*(drawn.count(cell) for cell in cells))
        covered += low <= 0.15 <= high
    assert 0.93 <= covered / rounds <= 0.985


def test_paired_difference_counts_what_only_one_side_got_right() -> None:
    before = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    after = [1, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    change = paired_difference(before, after)
    assert (change.n, change.difference) == (10, pytest.approx(0.6))
    assert change.p == pytest.approx(binomtest(1, 8).pvalue)
    assert (change.low, change.high) == newcombe_interval(1, 1, 7, 1)
    assert change.low < 0.6 < change.high


def test_means_of_samples_agree_with_the_exact_way_on_whole_numbers() -> None:
    rng = random.Random(1)
    before = [float(rng.random() < 0.4) for _ in range(200)]
    after = [float(rng.random() < 0.55) for _ in range(200)]
    exact = paired_difference(before, after)
    # The same scores, told as means of several samples by one item that is neither 0 nor 1.
    means = paired_difference([*before, 0.5], [*after, 0.5])
    assert means.difference == pytest.approx(exact.difference * 200 / 201)
    assert (means.low, means.high) == pytest.approx((exact.low, exact.high), abs=0.012)
    assert means.p == pytest.approx(exact.p, abs=0.01)


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        paired_difference([1, 0], [1])


def test_items_of_a_cluster_move_together() -> None:
    """Ten clusters of eight equal items are ten facts: the interval is as wide as that of ten items."""
    before = [0.0] * 10
    after = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    names = [str(index) for index in range(10)]
    eightfold = paired_difference(before * 8, after * 8, names * 8)
    one_by_one = paired_difference([*before, 0.5], [*after, 0.5], [*names, "10"])  # resampled too
    assert eightfold.difference == pytest.approx(0.6)
    assert (eightfold.low, eightfold.high) == pytest.approx((0.3, 0.9))
    assert one_by_one.high - one_by_one.low == pytest.approx(0.6, abs=0.1)
    # All signs of six clusters fall alike with a chance of 2 in 64.
    assert eightfold.p == pytest.approx(2 / 64, abs=0.006)
    assert eightfold.p > 100 * paired_difference(before * 8, after * 8).p


def test_clusters_of_one_change_nothing() -> None:
    before, after = [1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1, 0]
    assert paired_difference(before, after, list("abcdefg")) == paired_difference(before, after)


def test_holm_is_statsmodels() -> None:
    # statsmodels 0.15.0: multipletests([...], method="holm")[1]
    chances = [0.01, 0.04, 0.03, 0.005, 0.5, 0.02]
    assert holm(chances) == pytest.approx([0.05, 0.09, 0.09, 0.03, 0.5, 0.08])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize(
    ("difference", "discordant", "theirs"),
    # statsmodels 0.15.0: TTestPower().solve_power(difference / sd of the gaps, alpha=0.05, power=0.8)
    [(0.05, 0.2, 621.98), (0.1, 0.3, 229.55), (0.02, 0.1, 1956.29)],
)
def test_needed_items_are_about_those_of_a_paired_t_test(
    difference: float, discordant: float, theirs: float
) -> None:
    assert items_needed(difference, discordant) == pytest.approx(theirs, rel=0.025)
    assert items_needed(-difference, discordant) == items_needed(difference, discordant)
    assert items_needed(0.0, discordant) is None


def test_with_the_items_needed_mcnemar_finds_the_difference_four_times_in_five() -> None:
    rng, found, rounds = random.Random(2), 0, 600
    n = items_needed(0.12, 0.3)
    assert n is not None
    for _ in range(rounds):
        drawn = rng.choices(("only_a", "only_b", "same"), (0.09, 0.21, 0.7), k=n)
        found += mcnemar_p(drawn.count("only_a"), drawn.count("only_b")) < 0.05
    # The exact test is a little more careful than the formula.
    assert 0.72 <= found / rounds <= 0.86
