"""What a batch of answers looked like: numbers for the metrics, whole answers for reading."""

import json
from pathlib import Path
from statistics import fmean

from xreasoner.train.groups import Batch, Group


def describe(batch: Batch) -> dict[str, float]:
    rollouts = [rollout for group in batch.groups for rollout in group.rollouts]
    scores = [score for group in batch.groups for score in group.scores]
    # A token's log-probability under its own sampler is an unbiased sample of minus the entropy.
    surprises = [
        -logprob
        for rollout in rollouts
        for logprob, chosen in zip(rollout.logprobs, rollout.by_policy, strict=True)
        if chosen
    ]
    return {
        "reward": _mean([score.correct for score in scores if score.correct is not None]),
        "unscored": _mean([score.correct is None for score in scores]),
        "missing": _mean([score.missing for score in scores]),
        "think_tokens": _mean([rollout.think_tokens for rollout in rollouts]),
        "answer_length": _mean([len(rollout.token_ids) for rollout in rollouts]),
        "forced": _mean([rollout.forced_exit for rollout in rollouts]),
        "cut": _mean([rollout.stop == "length" for rollout in rollouts]),
        "skipped": batch.drawn_without_signal / batch.drawn,
        "drawn": batch.drawn,
        "entropy": _mean(surprises),
        "tokens": sum(len(rollout.token_ids) for rollout in rollouts),
    }


def keep_samples(batch: Batch, path: Path) -> None:
    """One line an answer, to be read by people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for group in batch.groups:
            file.writelines(f"{line}\n" for line in _lines(group))


def _lines(group: Group) -> list[str]:
    question = "".join(part if isinstance(part, str) else "[picture]" for part in group.problem.question)
    return [
        json.dumps(
            {
                "id": group.problem.id,
                "sample": rollout.sample,
                "question": question,
                "gold": group.problem.answer,
                "text": rollout.text,
                "extracted": score.extracted,
                "correct": score.correct,
                "why": score.why,
                "advantage": advantage,
                "forced": rollout.forced_exit,
                "stop": rollout.stop,
                "think_tokens": rollout.think_tokens,
            },
            ensure_ascii=False,
        )
        for rollout, score, advantage in zip(group.rollouts, group.scores, group.advantages, strict=True)
    ]


def _mean(values: "list[bool] | list[int] | list[float]") -> float:
    return fmean(values) if values else 0.0
