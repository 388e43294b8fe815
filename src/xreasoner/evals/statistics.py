"""Intervals and tests for one result, for two on the same items, for items that share pictures, for votes.

Suffixes: N items, C clusters of items, S seeds.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np

from xreasoner.evals.samples import KeptProblem
from xreasoner.records import Score
from xreasoner.rewards.choice import match_choice
from xreasoner.rewards.plain import normalise

RESAMPLES = 10_000
SIGNIFICANCE, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Difference:
    """The mean of b - a, its 95% interval and its p value."""

    n: int
    difference: float
    low: float
    high: float
    p: float
    needed: int | None = None
    """Items needed to detect this difference with 80% power; None if the difference is zero."""


def wilson_interval(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share when `k` of `n` were right; both may be fractions."""
    assert 0 <= k <= n
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = k / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Exact and two-sided. Under the null, an item that only one got right is a fair coin."""
    n, fewer = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 0
    for k in range(fewer + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / 2**n)


def newcombe_interval(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Newcombe's method 10 for the paired difference b - a: Wilson's intervals and the correlation."""
    n = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, confidence)
    low_b, high_b = wilson_interval(both + only_b, n, confidence)
    phi = _correlation(both, only_a, only_b, neither)

    def half(arm_b: float, arm_a: float) -> float:
        return math.sqrt(max(0.0, arm_b**2 - 2 * phi * arm_b * arm_a + arm_a**2))

    difference = share_b - share_a
    low = difference - half(share_b - low_b, high_a - share_a)
    high = difference + half(high_b - share_b, share_a - low_a)
    return max(-1.0, low), min(1.0, high)


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Phi with Newcombe's continuity correction where it is positive."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product: float = both * neither - only_a * only_b
    if margins == 0:
        return 0.0
    if product > 0:
        product = max(product - (both + only_a + only_b + neither) / 2, 0)
    return product / math.sqrt(margins)


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[str] | None = None
) -> Difference:
    """`a` and `b` are two models' scores on the same items, in the same order: 0, 1, or means of several.

    Items of one cluster are drawn and turned together; without `clusters` each item stands for itself.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same items on both sides, got {len(a)} and {len(b)}")
    names = clusters or [str(index) for index in range(len(a))]
    if not set(a) | set(b) <= {0, 1} or len(set(names)) < len(names):
        return _resampled_difference(a, b, names)
    pairs = list(zip(map(bool, a), map(bool, b), strict=True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    low, high = newcombe_interval(both, only_a, only_b, neither)
    difference = (only_b - only_a) / len(a)
    needed = items_needed(difference, (only_a + only_b) / len(a))
    return Difference(len(a), difference, low, high, mcnemar_p(only_a, only_b), needed)


def _resampled_difference(a: Sequence[float], b: Sequence[float], clusters: Sequence[str]) -> Difference:
    """Bootstrap of clusters for the interval, sign flips of clusters for the test."""

    gaps = np.asarray(b, float) - np.asarray(a, float)
    cluster_N = np.unique(np.asarray(clusters), return_inverse=True)[1]
    sum_C, size_C = np.bincount(cluster_N, gaps), np.bincount(cluster_N)
    rng, count = np.random.default_rng(0), len(sum_C)
    means, flipped = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = rng.integers(count, size=count)
        means[i] = sum_C[drawn].sum() / size_C[drawn].sum()
        flipped[i] = np.where(rng.random(count) < 0.5, -sum_C, sum_C).sum() / len(gaps)
    low, high = np.quantile(means, (0.025, 0.975))
    difference = float(gaps.mean())
    at_least = int((np.abs(flipped) >= abs(difference) - 1e-12).sum())
    # Clustered items carry less information: the design effect raises the number needed.
    together = float((sum_C**2).sum()) / max(float((gaps**2).sum()), 1e-12)
    needed = items_needed(difference, float((gaps**2).mean()) * max(1.0, together))
    return Difference(len(a), difference, float(low), float(high), (at_least + 1) / (RESAMPLES + 1), needed)


def items_needed(difference: float, mean_square: float) -> int | None:
    """Connor's sample size for McNemar's test; `mean_square` is the share of discordant items."""
    if difference == 0:
        return None
    normal = NormalDist()
    alike = normal.inv_cdf(1 - SIGNIFICANCE / 2) * math.sqrt(mean_square)
    apart = normal.inv_cdf(POWER) * math.sqrt(max(0.0, mean_square - difference**2))
    return math.ceil(((alike + apart) / difference) ** 2)


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's correction (1979): the chance of any false positive among the tests stays at the level."""
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    corrected, highest = [0.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = highest
    return corrected


# --- several seeds ---------------------------------------------------------------------------------------


def difference_over_seeds(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], clusters: Sequence[str]
) -> Difference:
    """`a[s]` and `b[s]` are the scores of seed `s` on the same items; the result generalises over both.

    The variance is that of two-way clustering by seed and by item (Cameron, Gelbach and Miller 2011), with
    Student's t and Satterthwaite's degrees of freedom, as seeds are few.
    """
    gaps_SN = np.asarray(b, float) - np.asarray(a, float)
    seeds, n = gaps_SN.shape
    assert seeds > 1
    of_seed_S, of_item_N, difference = gaps_SN.mean(1), gaps_SN.mean(0), float(gaps_SN.mean())
    by_seed = float(of_seed_S.var(ddof=1)) / seeds
    by_item = clustered_variance(of_item_N.tolist(), clusters)
    rest_SN = gaps_SN - of_seed_S[:, None] - of_item_N + difference
    both = float((rest_SN**2).sum()) / ((seeds - 1) * (n - 1)) / (seeds * n)
    variance = max(by_seed + by_item - both, by_seed, by_item)
    if variance == 0:
        return Difference(n, difference, difference, difference, float(difference == 0))
    groups = len(set(clusters))
    df = variance**2 / (by_seed**2 / (seeds - 1) + by_item**2 / (groups - 1))
    error = math.sqrt(variance)
    half = t_quantile(SIGNIFICANCE / 2, df) * error
    p = 2 * t_tail(abs(difference) / error, df)
    return Difference(n, difference, max(-1.0, difference - half), min(1.0, difference + half), p)


def t_tail(t: float, df: float) -> float:
    """The chance that Student's t is above `t`, which is at least 0."""
    return 0.5 * incomplete_beta(df / 2, 0.5, df / (df + t * t))


def t_quantile(tail: float, df: float) -> float:
    low, high = 0.0, 1.0
    while t_tail(high, df) > tail:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, df) > tail else (low, middle)
    return high


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised, by its continued fraction (DLMF 8.17.22) with Lentz's method."""
    if x in (0, 1):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction, m = d, 1
    while True:
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + step * d), 1 + step / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            return math.exp(scale) * fraction / a
        m += 1


# --- items that share a picture ----------------------------------------------------------------------


def clusters_of(problems: Iterable[KeptProblem]) -> dict[str, str]:
    """Problem ids to cluster names. Problems that share an item or a picture are in one cluster."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    ids = dict[str, None]()
    for kept in problems:
        name = kept.problem.id
        ids[name] = None
        for link in (f"item {kept.problem.item}", *(f"picture {picture}" for picture in kept.pictures)):
            parent[root(link)] = root(f"id {name}")
    return {name: root(f"id {name}") for name in ids}


def clustered_interval(scores: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, float]:
    """Wilson's interval at the effective sample size."""
    names = [clusters[name] for name in scores]
    effective = len(scores) / design_effect(list(scores.values()), names)
    return wilson_interval(effective * _mean(scores.values()), effective)


def design_effect(scores: Sequence[float], clusters: Sequence[str]) -> float:
    """The variance of the mean over that of independent items; at least 1."""
    n, groups = len(scores), len(set(clusters))
    if n == groups:
        return 1.0
    mean = _mean(scores)
    if groups == 1 or mean in (0, 1):
        return n / groups  # no information on the correlation: count each cluster once
    independent = mean * (1 - mean) / n
    return min(float(n), max(1.0, clustered_variance(scores, clusters) / independent))


def clustered_variance(scores: Sequence[float], clusters: Sequence[str]) -> float:
    """The cluster-robust variance of the mean (CR1)."""
    mean, sums = _mean(scores), defaultdict[str, float](float)
    for score, cluster in zip(scores, clusters, strict=True):
        sums[cluster] += score - mean
    groups = len(sums)
    return math.fsum(value**2 for value in sums.values()) / len(scores) ** 2 * groups / (groups - 1)


def _mean(scores: Iterable[float]) -> float:
    values = list(scores)
    return math.fsum(values) / len(values)


# --- several answers to one item ---------------------------------------------------------------------


RIGHT = "right"


def majority(scores: Sequence[Score], choices: Sequence[str]) -> float:
    """1 if the most frequent answer is right; a tie counts as the share of right answers in it.

    Right answers all equal the key, so they vote together however they are written; wrong ones vote
    together if they name the same option or read the same. Missing answers do not vote.
    """
    votes = Counter(vote for score in scores if (vote := vote_of(score, choices)) is not None)
    first = [vote for vote, count in votes.items() if count == max(votes.values())]
    return first.count(RIGHT) / len(first) if first else 0.0


def vote_of(score: Score, choices: Sequence[str]) -> str | None:
    if score.correct:
        return RIGHT
    if score.correct is None or score.extracted is None:
        return None
    named = match_choice(score.extracted, tuple(choices)).letter if choices else None
    return f"= {named or normalise(score.extracted)}"


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that at least one of k answers, drawn without replacement from these n, is right."""
    assert 1 <= k <= n and 0 <= right <= n
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def mean_pass_at(graded: Sequence[Sequence[bool]]) -> dict[int, float]:
    """For k = 1, 2, 4, ... and all, over the items with at least k graded answers."""
    most = max((len(grades) for grades in graded), default=0)
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return {
        k: fmean(pass_at(k, len(grades), sum(grades)) for grades in graded if len(grades) >= k)
        for k in (*powers, most)
        if most > 1
    }
