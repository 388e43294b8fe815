"""What a step leaves on disk: a line of numbers in metrics.jsonl, and every few steps its answers."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Self

import torch

from xreasoner.parallel import World
from xreasoner.rollout.token_pieces import DecodeIds, TokenPieces, sampled_tokens
from xreasoner.storage.checked_json import json_text
from xreasoner.storage.disk import LineFile
from xreasoner.storage.files import drop_torn_line, write_atomically, written_atomically
from xreasoner.train.collect import GradedRollout, Group, RolloutBatch


class MetricsFile:
    """Appends lines. Lines of steps that are done again are dropped."""

    def __init__(self, path: Path, resumed_from: int, unmeasured: bool = False) -> None:
        """`resumed_from`: the steps after it are done again (0: all).

        `unmeasured`: its held-out data are measured again too."""
        before = _complete_lines(path) if resumed_from else []
        kept = [line for line in before if not _is_again(json.loads(line), resumed_from, unmeasured)]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
        self._file = LineFile(path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **known}) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class NoMetrics:
    """For ranks other than the first."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        pass


@contextmanager
def metrics_of(
    world: World, path: Path, resumed_from: int, unmeasured: bool
) -> Iterator[MetricsFile | NoMetrics]:
    if not world.is_first:
        yield NoMetrics()
        return
    with MetricsFile(path, resumed_from, unmeasured) as metrics:
        yield metrics


def _is_again(values: Mapping[str, float], resumed_from: int, unmeasured: bool) -> bool:
    is_measured_again = unmeasured and any("held_out" in name for name in values)
    return values["step"] > resumed_from - is_measured_again


def _complete_lines(path: Path) -> list[str]:
    """An interrupted run may leave half a line at the end."""
    if not path.is_file():
        return []
    drop_torn_line(path)
    return path.read_text().splitlines()


def peak_memory() -> dict[str, float]:
    """GB of this GPU since the stage began; nothing on a CPU."""
    return {"peak_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


def rollout_metrics(batch: RolloutBatch) -> dict[str, float]:
    answers = [answer for group in batch.groups for answer in group.answers]
    rollouts, scores = [answer.rollout for answer in answers], [answer.score for answer in answers]
    # Minus the log-probability of a sampled token is an unbiased estimate of the entropy.
    surprises = [
        -logprob
        for rollout in rollouts
        for logprob, chosen in zip(rollout.logprobs, rollout.by_policy, strict=True)
        if chosen
    ]
    return {
        "reward": _mean([answer.reward for answer in answers if answer.reward is not None]),
        **each_reward(answers),
        **reward_by_source(batch.groups),
        "correct": _mean([score.correct for score in scores if score.correct is not None]),
        "unscored": _mean([answer.reward is None for answer in answers]),
        "missing": _mean([score.missing for score in scores]),
        "think_tokens": _mean([rollout.think_tokens for rollout in rollouts]),
        "answer_length": _mean([len(rollout.token_ids) for rollout in rollouts]),
        **length_by_verdict(answers),
        "forced": _mean([rollout.forced_exit for rollout in rollouts]),
        "cut": _mean([rollout.stop == "length" for rollout in rollouts]),
        "skipped": batch.drawn_without_signal / batch.drawn,
        "drawn": batch.drawn,
        "entropy": _mean(surprises),
        "tokens": sum(len(rollout.token_ids) for rollout in rollouts),
        "lag": batch.lag,
    }


def trained_lengths(batch: RolloutBatch) -> list[int]:
    """Of the sequences that the update computes: answers of groups with a signal, their prompts once each."""
    found: list[int] = []
    for group in batch.groups:
        if group.has_signal:
            found.append(len(group.answers[0].rollout.prompt_ids))
            found += [len(answer.rollout.token_ids) for answer in group.answers]
    return found


def each_reward(answers: Sequence[GradedRollout]) -> dict[str, float]:
    """The mean of each reward function, if there are several."""
    names = list(answers[0].values) if answers else []
    known = {name: [value for a in answers if (value := a.values[name]) is not None] for name in names}
    return {f"reward_{name}": _mean(values) for name, values in known.items()} if len(names) > 1 else {}


def reward_by_source(groups: Sequence[Group]) -> dict[str, float]:
    """If the problems come from several: one may improve while another gets worse."""
    found: dict[str, list[float]] = {}
    for group in groups:
        known = [answer.reward for answer in group.answers if answer.reward is not None]
        found.setdefault(group.problem.source, []).extend(known)
    return {f"reward_from_{name}": _mean(known) for name, known in found.items()} if len(found) > 1 else {}


def length_by_verdict(answers: Sequence[GradedRollout]) -> dict[str, float]:
    """Tokens of right and of wrong answers, if there are any: wrong ones that grow are a bad sign."""
    lengths = {
        name: [len(answer.rollout.token_ids) for answer in answers if answer.score.correct is verdict]
        for name, verdict in (("length_right", True), ("length_wrong", False))
    }
    return {name: _mean(known) for name, known in lengths.items() if known}


def write_samples(batch: RolloutBatch, path: Path, decode: DecodeIds) -> None:
    """One line an answer, for people to read. `decode` turns tokens into text."""
    pieces = TokenPieces(decode)
    with written_atomically(path) as file:
        for group in batch.groups:
            file.writelines(f"{line}\n".encode() for line in _sample_lines(group, batch.lag, pieces))


def _sample_lines(group: Group, lag: int, pieces: TokenPieces) -> list[str]:
    question = "".join(part if isinstance(part, str) else "[picture]" for part in group.problem.question)
    return [
        json_text(
            {
                "id": group.problem.id,
                "sample": answer.rollout.sample,
                "question": question,
                "gold": group.problem.answer,
                "text": answer.rollout.text,
                "extracted": answer.score.extracted,
                "correct": answer.score.correct,
                "why": answer.score.why,
                "rewards": dict(answer.values),
                "advantage": answer.advantage,
                "forced": answer.rollout.forced_exit,
                "stop": answer.rollout.stop,
                "think_tokens": answer.rollout.think_tokens,
                "lag": lag,
                "tokens": sampled_tokens(answer.rollout, pieces),
            }
        )
        for answer in group.answers
    ]


def _mean(values: "list[bool] | list[int] | list[float]") -> float:
    return fmean(values) if values else 0.0
