"""Our grader as verl's custom reward function: `pkg://xreasoner.verl.reward`."""

import os
from queue import SimpleQueue
from typing import Any

from xreasoner.rewards.grade import Grader
from xreasoner.verl.parquet import problem_of

GRADERS = 4
"""In each of verl's reward workers. A grader starts one process when it first gets mathematics."""

_idle: SimpleQueue[Grader] = SimpleQueue()
for _ in range(min(GRADERS, os.cpu_count() or 1)):
    _idle.put(Grader(workers=1))


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """1 for a correct answer, else 0, and the rates our own training reports.

    verl calls it from many threads. It has no place for an answer that the grader failed on: such an answer
    counts as wrong here, and in `unscored`.
    """
    grader = _idle.get()
    try:
        score = grader.score(problem_of(extra_info), solution_str)
    finally:
        _idle.put(grader)
    return {
        "score": float(score.correct or False),
        "acc": float(score.correct or False),
        "missing": float(score.missing),
        "unscored": float(score.correct is None),
    }
