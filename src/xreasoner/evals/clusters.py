"""Items that share a picture or are views of one problem are no independent evidence: they stand together."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from xreasoner.evals.samples import Sample
from xreasoner.evals.stats import wilson_interval


def clusters_of(samples: Iterable[Sample]) -> dict[str, str]:
    """Problem ids to the name of their cluster: what an item or a picture links, over any number of steps."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    ids = dict[str, None]()
    for sample in samples:
        ids[sample.id] = None
        for link in (f"item {sample.item}", *(f"picture {name}" for name in sample.pictures)):
            parent[root(link)] = root(f"id {sample.id}")
    return {name: root(f"id {name}") for name in ids}


def clustered_interval(scores: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, float]:
    """Wilson's interval for as many independent items as these clustered ones are worth."""
    names = [clusters[name] for name in scores]
    effective = len(scores) / design_effect(list(scores.values()), names)
    return wilson_interval(effective * _mean(scores.values()), effective)


def design_effect(scores: Sequence[float], clusters: Sequence[str]) -> float:
    """How many times the variance of independent items the mean's variance is; never below 1."""
    n, groups = len(scores), len(set(clusters))
    if n == groups:
        return 1.0
    mean = _mean(scores)
    if groups == 1 or mean in (0, 1):
        return n / groups  # nothing is known of how alike they are: each cluster counts once
    independent = mean * (1 - mean) / n
    return min(float(n), max(1.0, clustered_variance(scores, clusters) / independent))


def clustered_variance(scores: Sequence[float], clusters: Sequence[str]) -> float:
    """Of the mean, by the clusters' sums of residuals (CR1)."""
    mean, sums = _mean(scores), defaultdict[str, float](float)
    for score, cluster in zip(scores, clusters, strict=True):
        sums[cluster] += score - mean
    groups = len(sums)
    return math.fsum(value**2 for value in sums.values()) / len(scores) ** 2 * groups / (groups - 1)


def _mean(scores: Iterable[float]) -> float:
    values = list(scores)
    return math.fsum(values) / len(values)
