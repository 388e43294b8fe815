"""Intervals and tests: Wilson for one result, McNemar and Newcombe for two on the same items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """How much `b` is above `a`, with an interval, and the chance of such a gap were they alike."""

    n: int
    difference: float
    low: float
    high: float
    p: float


def wilson_interval(k: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Where the true share lies when `k` of `n` were right. Fractions of items are allowed in `k`."""
    assert 0 <= k <= n
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = k / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Exact, two-sided: were the two alike, each item that only one got right is a fair coin."""
    n, fewer = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 0
    for k in range(fewer + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / 2**n)


def newcombe_interval(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """For the paired difference b - a: Wilson's intervals, joined by the items' correlation (method 10)."""
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
    """Phi, drawn toward 0 by half the items where it is positive: what Newcombe found to cover best."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product: float = both * neither - only_a * only_b
    if margins == 0:
        return 0.0
    if product > 0:
        product = max(product - (both + only_a + only_b + neither) / 2, 0)
    return product / math.sqrt(margins)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """`a` and `b` are two models' scores on the same items, in the same order: 0, 1, or means of several."""
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same items on both sides, got {len(a)} and {len(b)}")
    if not set(a) | set(b) <= {0, 1}:
        return _resampled_difference(a, b)
    pairs = list(zip(map(bool, a), map(bool, b), strict=True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    low, high = newcombe_interval(both, only_a, only_b, neither)
    return Difference(len(a), (only_b - only_a) / len(a), low, high, mcnemar_p(only_a, only_b))


def _resampled_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """For means of several samples: items resampled for the interval, signs flipped for the test."""
    import numpy as np

    gaps = np.asarray(b, float) - np.asarray(a, float)
    rng = np.random.default_rng(0)
    means, flipped = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = gaps[rng.integers(len(gaps), size=len(gaps))].mean()
        flipped[i] = (gaps * rng.choice((-1.0, 1.0), len(gaps))).mean()
    low, high = np.quantile(means, (0.025, 0.975))
    at_least = int((np.abs(flipped) >= abs(gaps.mean()) - 1e-12).sum())
    return Difference(len(a), float(gaps.mean()), float(low), float(high), (at_least + 1) / (RESAMPLES + 1))
