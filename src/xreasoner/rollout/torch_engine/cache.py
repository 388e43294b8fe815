"""The key-value cache: one fixed row a slot, so that slots open and close without rebuilding it.

Suffixes: A active rows, R rows that are filled, N entries over rows, heads and columns, K key heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_GROWTH = 1.5


@dataclass
class Prefill:
    """Store each prompt of the batch in the rows of its samples."""

    row_R: Tensor
    prompt_R: Tensor
    """For each entry of `row_R`, the prompt of the batch that is stored there."""


@dataclass
class Decode:
    """Every active row appends one token at its own column and reads the columns before `span`."""

    column_A: Tensor
    row_A: Tensor
    span: int
    index_N: Tensor | None = None
    """The flat index of each new state over rows, heads and columns; the same for every layer."""

    def flat_index(self, heads: int, columns: int) -> Tensor:
        if self.index_N is None:
            head_K = torch.arange(heads, device=self.row_A.device)
            index_AK = (self.row_A[:, None] * heads + head_K) * columns + self.column_A[:, None]
            self.index_N = index_AK.flatten()
        return self.index_N


class RowLayer(CacheLayerMixin):
    """Keys and values of one layer, [rows, heads, columns, size]."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.task: Prefill | Decode | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = self._empty_like(key_states)
        self.values = self._empty_like(value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if isinstance(self.task, Prefill):
            width = key_states.shape[2]
            self.keys[self.task.row_R, :, :width] = key_states[self.task.prompt_R]
            self.values[self.task.row_R, :, :width] = value_states[self.task.prompt_R]
            return key_states, value_states
        assert isinstance(self.task, Decode)
        active, heads, _, size = key_states.shape
        index_N = self.task.flat_index(heads, self.columns)
        self.keys.view(-1, size).index_copy_(0, index_N, key_states.reshape(-1, size))
        self.values.view(-1, value_states.shape[-1]).index_copy_(
            0, index_N, value_states.reshape(-1, value_states.shape[-1])
        )
        return self.keys[:active, :, : self.task.span], self.values[:active, :, : self.task.span]

    def widen(self, columns: int) -> None:
        self.columns = columns
        if self.keys is not None and self.values is not None:
            self.keys, self.values = _widened(self.keys, columns), _widened(self.values, columns)

    def move(self, source: Tensor, target: Tensor, span: int) -> None:
        if self.keys is not None and self.values is not None:
            self.keys[target, :, :span] = self.keys[source, :, :span]
            self.values[target, :, :span] = self.values[source, :, :span]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (self.task.span if isinstance(self.task, Decode) else query_length), 0

    def get_seq_length(self) -> int:
        return self.task.span - 1 if isinstance(self.task, Decode) else 0

    def get_max_length(self) -> int:
        return self.columns

    def _empty_like(self, states: Tensor) -> Tensor:
        _, heads, _, size = states.shape
        return states.new_zeros(self.rows, heads, self.columns, size)


class RowCache(Cache):
    def __init__(self, layers: int, rows: int, columns: int) -> None:
        self.row_layers = [RowLayer(rows, columns) for _ in range(layers)]
        super().__init__(layers=list(self.row_layers))
        self.columns = columns

    def begin(self, task: Prefill | Decode) -> None:
        for layer in self.row_layers:
            layer.task = task

    def reserve(self, columns: int, most: int) -> None:
        """Grow on demand: short rollouts do not pay for the longest possible one, of `most` columns."""
        if columns > self.columns:
            self.columns = max(columns, min(most, int(self.columns * _GROWTH)))
            for layer in self.row_layers:
                layer.widen(self.columns)

    def move(self, source: Tensor, target: Tensor, span: int) -> None:
        for layer in self.row_layers:
            layer.move(source, target, span)


def _widened(states: Tensor, columns: int) -> Tensor:
    rows, heads, old, size = states.shape
    wide = torch.zeros(rows, heads, columns, size, dtype=states.dtype, device=states.device)
    wide[:, :, :old] = states
    return wide
