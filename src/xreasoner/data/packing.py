"""Cutting data into optimizer steps and steps into packed rows: by tokens, without padding, by seed alone."""

import itertools
from collections.abc import Iterator, Sequence

import torch


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def plan_steps(
    lengths: Sequence[int],
    tokens_per_step: int,
    seed: int,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    at_least: int = 1,
) -> list[list[int]]:
    """Which sequences each optimizer step sees. Epochs follow each other without a gap.

    A last step of fewer sequences than `at_least` (one for each rank) joins the step before.
    """
    assert (steps is None) != (epochs is None)
    if not lengths:
        raise ValueError("there is nothing to train on: the data of this stage is empty")
    plan: list[list[int]] = []
    batch: list[int] = []
    filled = 0
    for index in _stream(len(lengths), seed, epochs):
        if batch and filled + lengths[index] > tokens_per_step:
            plan.append(batch)
            batch, filled = [], 0
            if len(plan) == steps:
                return plan
        batch.append(index)
        filled += lengths[index]
    if plan and len(batch) < at_least:
        return [*plan[:-1], plan[-1] + batch]
    return [*plan, batch]


def _stream(count: int, seed: int, epochs: float | None) -> Iterator[int]:
    every_epoch = (index for epoch in itertools.count() for index in shuffled(count, seed, epoch))
    return every_epoch if epochs is None else itertools.islice(every_epoch, round(count * epochs))


def cut_rows(lengths: Sequence[int], tokens_per_row: int, multiple_of: int = 1) -> list[list[int]]:
    """Positions of `lengths` spread over rows of at most `tokens_per_row`, longest first, evenly filled.

    A sequence longer than a row gets a row of its own. The number of rows is a multiple of `multiple_of`:
    every rank works on equally many.
    """
    if len(lengths) < multiple_of:
        raise ValueError(
            f"a step of {len(lengths)} sequences cannot be shared by {multiple_of} processes: "
            "raise tokens_per_step"
        )
    needed = -(-sum(lengths) // tokens_per_row)
    while True:
        rows = _spread(
            lengths, min(_round_up(needed, multiple_of), len(lengths) // multiple_of * multiple_of)
        )
        fits = all(len(row) == 1 or sum(lengths[i] for i in row) <= tokens_per_row for row in rows)
        if fits or len(rows) + multiple_of > len(lengths):
            return rows
        needed = len(rows) + 1


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _spread(lengths: Sequence[int], count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        emptiest = filled.index(min(filled))
        rows[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return rows
