"""Several answers to one item: what their majority says, and how often one of k would be right."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from xreasoner.evals.samples import Sample
from xreasoner.rewards.choice import match_choice
from xreasoner.rewards.exact import normalise

RIGHT = "right"


def majority(samples: Sequence[Sample]) -> float:
    """1 if the most frequent answer is right; a tie counts as the share of right ones among its answers.

    Right answers all equal the key, so they vote together however they are written; wrong ones vote
    together if they name the same option or are written alike. Who gives no answer does not vote.
    """
    votes = Counter(vote for sample in samples if (vote := vote_of(sample)) is not None)
    first = [vote for vote, count in votes.items() if count == max(votes.values())]
    return first.count(RIGHT) / len(first) if first else 0.0


def vote_of(sample: Sample) -> str | None:
    if sample.correct:
        return RIGHT
    if sample.correct is None or sample.extracted is None:
        return None
    named = match_choice(sample.extracted, sample.choices).letter if sample.choices else None
    return f"= {named or normalise(sample.extracted)}"


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that of k answers, drawn from these n without putting back, at least one is right."""
    assert 1 <= k <= n and 0 <= right <= n
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def mean_pass_at(graded: Sequence[Sequence[bool]]) -> dict[int, float]:
    """For k of 1, 2, 4, ... and all; over the items that have so many graded answers."""
    most = max((len(grades) for grades in graded), default=0)
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return {
        k: fmean(pass_at(k, len(grades), sum(grades)) for grades in graded if len(grades) >= k)
        for k in (*powers, most)
        if most > 1
    }
