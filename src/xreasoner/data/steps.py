"""The order of the data: shuffled epochs, cut into optimizer steps by tokens. The seed alone decides."""

import itertools
from collections.abc import Iterator, Sequence

import torch


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def cut_steps(
    lengths: Sequence[int],
    tokens_per_step: int,
    seed: int,
    *,
    steps: int | None = None,
    epochs: float | None = None,
) -> list[list[int]]:
    """Which sequences each optimizer step sees. Epochs follow each other without a gap."""
    assert (steps is None) != (epochs is None)
    if not lengths:
        raise ValueError("there is nothing to train on: the data of this stage is empty")
    cut: list[list[int]] = []
    batch: list[int] = []
    filled = 0
    for index in _stream(len(lengths), seed, epochs):
        if batch and filled + lengths[index] > tokens_per_step:
            cut.append(batch)
            batch, filled = [], 0
            if len(cut) == steps:
                return cut
        batch.append(index)
        filled += lengths[index]
    return [*cut, batch]


def _stream(count: int, seed: int, epochs: float | None) -> Iterator[int]:
    every_epoch = (index for epoch in itertools.count() for index in shuffled(count, seed, epoch))
    return every_epoch if epochs is None else itertools.islice(every_epoch, round(count * epochs))
