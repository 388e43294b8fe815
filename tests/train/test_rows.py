"""Packed rows: their contents and the token budget."""

import random

import pytest

from xreasoner.train.rows import cut_rows


def test_rows_hold_everything_once_within_the_budget_longest_first() -> None:
    lengths = random.Random(5).choices(range(1, 41), k=100)
    rows = cut_rows(lengths, tokens_per_row=128)
    assert sorted(index for row in rows for index in row) == list(range(100))
    assert all(sum(lengths[index] for index in row) <= 128 for row in rows)
    assert len(rows) <= -(-sum(lengths) // 128) + 1
    assert all(lengths[row[0]] == max(lengths[index] for index in row) for row in rows)


def test_ranks_get_equally_many_rows() -> None:
    for sequences in range(4, 30):
        rows = cut_rows([7] * sequences, tokens_per_row=15, multiple_of=4)
        assert len(rows) % 4 == 0 and all(rows)
        assert sorted(index for row in rows for index in row) == list(range(sequences))


def test_too_few_sequences_for_the_ranks_is_said() -> None:
    with pytest.raises(ValueError, match="raise tokens_per_step"):
        cut_rows([7], tokens_per_row=15, multiple_of=2)
