"""Items that belong together: found, counted as what they are worth, and covered as often as promised."""

import random
from dataclasses import replace

import pytest
from tests.evals.test_ablations import sample

from xreasoner.evals.clusters import clustered_interval, clustered_variance, clusters_of, design_effect
from xreasoner.evals.stats import wilson_interval
from xreasoner.evals.summary import summarise


def test_pictures_and_items_link_over_any_number_of_steps() -> None:
    alone, first, second = sample(1, True), sample(2, True), sample(3, False)
    linked = [
        replace(first, pictures=("a.png",)),
        replace(second, pictures=("a.png", "b.png")),
        replace(sample(4, True), pictures=("b.png",)),
        replace(sample(5, True, "text"), item="p004"),
    ]
    clusters = clusters_of([alone, *linked])
    assert len({clusters[one.id] for one in linked}) == 1
    assert clusters[alone.id] != clusters[first.id]


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
    samples = [replace(sample(i, i % 2 == 0), pictures=(f"{i // 3}.png",)) for i in range(12)]
    found = summarise(samples)
    assert (found.n, found.clusters, found.accuracy) == (12, 4, 0.5)
    assert (found.low, found.high) <= wilson_interval(6, 12)
