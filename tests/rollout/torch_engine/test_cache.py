"""Slots keep their states while the cache widens and other slots leave."""

import pytest
import torch

from xreasoner.rollout.torch_engine.cache import Decode, Prefill, RowCache
from xreasoner.rollout.torch_engine.decode_attention import row_blocks


def numbered(rows: int, columns: int) -> torch.Tensor:
    """States of 2 heads and size 3 that tell row and column: 100 * row + column."""
    state_RC = 100.0 * torch.arange(rows)[:, None] + torch.arange(columns)
    return state_RC[:, None, :, None].expand(rows, 2, columns, 3)


@pytest.fixture
def cache() -> RowCache:
    """Three rows: two samples of a prompt of 4 columns, one of another."""
    cache = RowCache(layers=1, rows=3, columns=5)
    cache.begin(Prefill(row_R=torch.tensor([0, 1, 2]), prompt_R=torch.tensor([0, 0, 1])))
    keys = numbered(2, 4)
    returned, _ = cache.update(keys, -keys, 0)
    assert torch.equal(returned, keys)
    return cache


def decode(cache: RowCache, columns: list[int], state: float) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(len(columns))
    cache.begin(Decode(torch.tensor(columns), rows, max(columns) + 1))
    new = torch.full((len(columns), 2, 1, 3), state)
    keys, values = cache.update(new, -new, 0)
    assert torch.equal(values, -keys)
    assert keys.shape == (len(columns), 2, max(columns) + 1, 3)
    return keys[:, 1, :, 2], values


def test_samples_share_the_prompt_and_append_at_their_own_column(cache: RowCache) -> None:
    keys_AS, _ = decode(cache, [4, 3, 2], 7.0)
    assert keys_AS[0].tolist() == [0, 1, 2, 3, 7]
    assert keys_AS[1].tolist()[:4] == [0, 1, 2, 7]
    assert keys_AS[2].tolist()[:3] == [100, 101, 7]


def test_growing_keeps_the_states(cache: RowCache) -> None:
    cache.reserve(6, most=100)
    assert cache.columns == 7
    keys_AS, _ = decode(cache, [5, 4, 4], 7.0)
    assert keys_AS[2].tolist()[:5] == [100, 101, 102, 103, 7]
    assert keys_AS[0].tolist()[:4] == [0, 1, 2, 3]


def test_it_never_grows_beyond_what_is_needed(cache: RowCache) -> None:
    """By half would be 7 columns; the longest possible rollout has 6."""
    cache.reserve(6, most=6)
    assert cache.columns == 6


def test_a_row_can_move(cache: RowCache) -> None:
    cache.move(source=torch.tensor([2]), target=torch.tensor([0]), span=3)
    keys_AS, _ = decode(cache, [3, 4], 7.0)
    assert keys_AS[0].tolist()[:4] == [100, 101, 102, 7]
    assert keys_AS[1].tolist() == [0, 1, 2, 3, 7]


def test_a_block_is_as_long_as_its_longest_row() -> None:
    blocks = row_blocks([9] * 64 + [3, 5])
    assert [(block.rows.start, block.span) for block in blocks] == [(0, 9), (64, 5)]
