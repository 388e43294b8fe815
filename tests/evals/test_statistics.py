"""Intervals, tests, clusters and votes against independent oracles, by hand, and by simulation."""

import math
import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student
from tests.evals.scripted import answers, kept, sample

from xreasoner.evals.statistics import (
    clustered_interval,
    clustered_variance,
    clusters_of,
    design_effect,
    difference_over_seeds,
    holm,
    items_needed,
    majority,
    mcnemar_p,
    mean_pass_at,
    newcombe_interval,
    paired_difference,
    pass_at,
    t_quantile,
    t_tail,
    wilson_interval,
)
from xreasoner.evals.summary import summarise
from xreasoner.records import Score


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


# --- several seeds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 1.7, 2, 5, 29.5, 400])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.5, 12.0])
def test_students_t_is_scipys(t: float, df: float) -> None:
    assert t_tail(t, df) == pytest.approx(student.sf(t, df), rel=1e-9)
    assert t_quantile(0.025, df) == pytest.approx(student.isf(0.025, df), rel=1e-9)


def test_over_seeds_by_hand() -> None:
    """Gaps of two seeds on three items: 1 0 1 and 0 0 1, so the seeds' means are 2/3 and 1/3."""
    found = difference_over_seeds([[0, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 0, 1]], ["x", "y", "z"])
    # by seed (1/6)^2 * 2 / 2 = 1/36; by item, of means 1/2, 0, 1: 1/2 / 9 * 3/2 = 1/12; both: the rests are
    # +-1/3, -+1/6, -+1/6, so 1/3 / 2 / 6 = 1/36. The variance is 1/36 + 1/12 - 1/36 = 1/12.
    df = (1 / 12) ** 2 / ((1 / 36) ** 2 / 1 + (1 / 12) ** 2 / 2)
    half = student.isf(0.025, df) * math.sqrt(1 / 12)
    assert (found.n, found.difference) == (3, 0.5)
    assert (found.low, found.high) == (pytest.approx(max(-1, 0.5 - half)), pytest.approx(min(1, 0.5 + half)))
    assert found.p == pytest.approx(2 * student.sf(0.5 / math.sqrt(1 / 12), df))


def test_seeds_that_agree_wholly_leave_no_doubt() -> None:
    same = difference_over_seeds([[0, 1], [0, 1]], [[0, 1], [0, 1]], ["x", "y"])
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_intervals_over_seeds_cover_a_new_seed_and_new_items() -> None:
    """True gain 0.2, of which a seed gets 0.1 more or less; intervals over items alone cover too seldom."""
    rng, covered, naive, rounds, items = np.random.default_rng(3), 0, 0, 400, 120
    for _ in range(rounds):
        seed_S, item_N = rng.normal(0, 0.1, 3), rng.normal(0, 0.15, items)
        chance_SN = np.clip(0.4 + 0.2 + seed_S[:, None] + item_N, 0, 1)
        b_SN = (rng.random((3, items)) < chance_SN).astype(float)
        a_SN = (rng.random((3, items)) < np.clip(0.4 + item_N, 0, 1)).astype(float)
        found = difference_over_seeds(a_SN.tolist(), b_SN.tolist(), [str(i) for i in range(items)])
        covered += found.low <= 0.2 <= found.high
        gaps_N = (b_SN - a_SN).mean(0)
        half = 1.96 * gaps_N.std(ddof=1) / math.sqrt(items)
        naive += abs(gaps_N.mean() - 0.2) <= half
    assert 0.93 <= covered / rounds <= 0.99
    assert naive / rounds < 0.75


# --- items that belong together ----------------------------------------------------------------------


def test_pictures_and_items_link_over_any_number_of_steps() -> None:
    alone = kept("p001-image")
    linked = [
        kept("p002-image", ("a.png",)),
        kept("p003-image", ("a.png", "b.png")),
        kept("p004-image", ("b.png",)),
        kept("p005-text", item="p004"),
    ]
    clusters = clusters_of([alone, *linked])
    assert len({clusters[one.problem.id] for one in linked}) == 1
    assert clusters["p001-image"] != clusters["p002-image"]


def test_the_variance_is_statsmodels() -> None:
    scores, clusters = [], []
    for group in range(24):
        for number in range(1 + group % 4):
            scores.append(float(((group * 7) % 5 < 3) != ((group + number) % 6 == 0)))
            clusters.append(str(group))
    # statsmodels 0.15.0: OLS on a constant, fit(cov_type="cluster", use_correction=True), bse[0] ** 2
    assert clustered_variance(scores, clusters) == pytest.approx(0.006690821256038653, rel=1e-9)


def test_independent_items_keep_wilsons_interval() -> None:
    scores = {str(i): float(i % 3 == 0) for i in range(30)}
    assert clustered_interval(scores, {name: name for name in scores}) == wilson_interval(10, 30)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_when_all_are_alike_each_cluster_counts_once(right: float) -> None:
    scores = {str(i): right for i in range(40)}
    assert clustered_interval(scores, {name: str(int(name) // 4) for name in scores}) == wilson_interval(
        10 * right, 10
    )
    assert design_effect([1, 0, 1], ["a", "a", "a"]) == 3


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Forty pictures of one to nine questions, half of whose answers follow the picture."""
    rng, covered, naive, rounds = random.Random(5), 0, 0, 800
    for _ in range(rounds):
        scores, clusters = dict[str, float](), dict[str, str]()
        for picture in range(40):
            common = rng.random() < 0.6
            for question in range(1 + picture % 9):
                name = f"{picture} {question}"
                scores[name] = float(common if rng.random() < 0.5 else rng.random() < 0.6)
                clusters[name] = str(picture)
        low, high = clustered_interval(scores, clusters)
        covered += low <= 0.6 <= high
        low, high = wilson_interval(sum(scores.values()), len(scores))
        naive += low <= 0.6 <= high
    assert 0.92 <= covered / rounds <= 0.975
    assert naive / rounds < 0.88


def test_a_summary_says_how_many_items_stand_for_themselves() -> None:
    """Four pictures of three items each, on which a picture's items are all right or all wrong."""
    asked = answers(*(sample(i, i // 3 % 2 == 0) for i in range(12)))
    pictured = {one: kept(one, (f"{i // 3}.png",)) for i, one in enumerate(asked.problems)}
    found = summarise(replace(asked, problems=pictured))
    assert (found.n, found.clusters, found.accuracy) == (12, 4, 0.5)
    # CR1: 4 sums of residuals of 1.5; 9 / 144 * 4 / 3 is 4 times the variance 0.25 / 12 of independent items.
    assert (found.low, found.high) == pytest.approx(wilson_interval(1.5, 3))
    low, high = wilson_interval(6, 12)
    assert found.low < low and found.high > high


# --- several answers to one item ---------------------------------------------------------------------


def said(extracted: str | None, correct: bool | None) -> Score:
    return Score(correct, extracted, "")


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
    assert majority([said("1/2", True), said("0.5", True), said("2", False), said("3", False)], ()) == 1
    assert majority([said("7", True), said(" 2. ", False), said("2", False)], ()) == 0
    options = ("yes", "no", "maybe")
    votes = [said("A", True), said("B: no", False), said("(B)", False)]
    assert majority(votes, options) == 0


def test_a_tie_counts_as_its_share_and_silence_does_not_vote() -> None:
    assert majority([said("7", True), said("2", False)], ()) == 0.5
    assert majority([said("7", True), said("2", False), said("3", False)], ()) == pytest.approx(1 / 3)
    assert majority([said("7", True), said(None, False), said(None, False), said("9", None)], ()) == 1
    assert majority([said(None, False)], ()) == 0


def test_a_summary_of_several_answers_has_both_and_of_one_has_neither() -> None:
    scores = [said("7", True), said("7", True), said("2", False), said(None, None)]
    four = answers(*(replace(sample(1, None, epoch=i), score=score) for i, score in enumerate(scores)))
    found = summarise(four)
    assert (found.n, found.accuracy, found.majority) == (1, pytest.approx(2 / 3), 1)
    assert found.pass_at == pytest.approx({1: 2 / 3, 2: 1.0, 3: 1.0})
    single = summarise(answers(four.samples[0]))
    assert (single.majority, single.pass_at) == (None, {})
