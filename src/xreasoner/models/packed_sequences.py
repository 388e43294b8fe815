"""Where the sequences of a packed row begin and end.

Suffixes: L tokens of one sequence, S tokens it attends to: its prompt's and its own.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class PackedSequences:
    """Where the sequences of a packed row begin and end, and which of them continue an earlier one."""

    lengths: tuple[int, ...]
    parents: tuple[int | None, ...]
    """The sequence each continues: samples share their prompt instead of repeating it. None: a whole one."""
    query_bounds: Tensor
    """0 and the running sums of the lengths, int32, on the device of the tokens."""
    key_bounds: Tensor
    """The same for what each sequence attends to: its parent's tokens and its own."""
    keys_at: Tensor | None
    """The places of those keys in the row; None where no sequence has a parent."""

    @classmethod
    def of(
        cls, lengths: Sequence[int], device: torch.device, parents: Sequence[int | None] | None = None
    ) -> "PackedSequences":
        parents = parents or (None,) * len(lengths)
        starts = [0, *itertools.accumulate(lengths)]
        own = [torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=False)]
        seen = [
            own[i] if parent is None else torch.cat([own[parent], own[i]]) for i, parent in enumerate(parents)
        ]
        continues = any(parent is not None for parent in parents)
        return cls(
            lengths=tuple(lengths),
            parents=tuple(parents),
            query_bounds=_bounds([len(at) for at in own], device),
            key_bounds=_bounds([len(at) for at in seen], device),
            keys_at=torch.cat(seen).to(device) if continues else None,
        )

    def prefix(self, sequence: int) -> int:
        parent = self.parents[sequence]
        return 0 if parent is None else self.lengths[parent]

    def mask(self, sequence: int) -> Tensor:
        """LS: which keys each query of a continuing sequence attends to."""
        longest = self._longest_mask.shape[0]
        length, own_from = self.lengths[sequence], self._longest_mask.shape[1] - longest
        return self._longest_mask[:length, own_from - self.prefix(sequence) : own_from + length]

    @cached_property
    def _longest_mask(self) -> Tensor:
        """For the longest continuation of the longest parent; those of others are parts of it."""
        continued = [i for i, parent in enumerate(self.parents) if parent is not None]
        longest, prefix = max(self.lengths[i] for i in continued), max(map(self.prefix, continued))
        full_LS = torch.ones(longest, prefix + longest, dtype=torch.bool, device=self.query_bounds.device)
        return full_LS.tril(prefix)


def _bounds(lengths: Sequence[int], device: torch.device) -> Tensor:
    return F.pad(torch.tensor(lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0)).to(device)
