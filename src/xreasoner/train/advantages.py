"""How much better an answer was than the other answers to the same problem."""

import statistics
from collections.abc import Sequence

EPSILON = 1e-4


def group_advantages(rewards: Sequence[float | None], std_scaling: bool) -> tuple[float, ...]:
    """Reward less the group's mean, over its standard deviation if asked; None (unscored) takes no part."""
    scored = [reward for reward in rewards if reward is not None]
    if not has_spread(scored):
        return (0.0,) * len(rewards)
    mean = statistics.fmean(scored)
    scale = statistics.stdev(scored) + EPSILON if std_scaling else 1.0
    return tuple(0.0 if reward is None else (reward - mean) / scale for reward in rewards)


def has_spread(scored: Sequence[float]) -> bool:
    return len(scored) > 1 and min(scored) != max(scored)
