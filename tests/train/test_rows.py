"""Packed rows: their contents and the token budget."""

import random

import pytest
import torch
from tests.train.rollouts import made_up_group, rollouts_of, settings

from xreasoner.parallel import World
from xreasoner.train.rows import cut_rows, one_per_row, policy_rows, rank_rows

CPU = torch.device("cpu")


def test_rows_hold_everything_once_within_the_budget_longest_first() -> None:
    lengths = random.Random(5).choices(range(1, 41), k=100)
    rows = cut_rows(lengths, tokens_per_row=128)
    assert sorted(index for row in rows for index in row) == list(range(100))
    assert all(sum(lengths[index] for index in row) <= 128 for row in rows)
    assert len(rows) <= -(-sum(lengths) // 128) + 1
    assert all(lengths[row[0]] == max(lengths[index] for index in row) for row in rows)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_get_equally_many_rows_and_none_is_over_the_budget(ranks: int) -> None:
    for sequences in range(1, 40):
        rows = cut_rows([7] * sequences, tokens_per_row=15, ranks=ranks)
        assert sorted(index for row in rows for index in row) == list(range(sequences))
        assert all(len(row) <= 2 for row in rows) and all(rows)
        shares = [rank_rows(rows, World(rank, ranks, CPU)) for rank in range(ranks)]
        assert len({len(share) for share in shares}) == 1
        assert [row for share in shares for row in share if row] and sum(map(len, shares)) >= len(rows)
        # Empty rows only where there are not enough sequences.
        assert all(all(share) for share in shares) or sequences < 2 * ranks or len(rows) == sequences


def test_long_sequences_keep_rows_of_their_own_on_many_ranks() -> None:
    rows = cut_rows([16_000] * 15, tokens_per_row=16_384, ranks=8)
    assert sorted(rows) == [[index] for index in range(15)]
    assert [len(rank_rows(rows, World(rank, 8, CPU))) for rank in range(8)] == [2] * 8
    assert rank_rows(rows, World(7, 8, CPU))[1] == []


def test_a_model_that_cannot_be_packed_gets_one_sequence_per_row() -> None:
    assert one_per_row([3, 9, 5]) == [[1], [2], [0]]
    group = made_up_group(0, [1, 0, 0, 1])
    rows = policy_rows([group], settings(), World(0, 1, CPU), packs=False)
    found = [tuple(row.row.ids_1T[0].tolist()) for row in rows]
    assert sorted(found) == sorted(r.prompt_ids + r.token_ids for r in rollouts_of([group]))
    assert all(row.row.positions_1T[0].tolist() == list(range(row.row.ids_1T.numel())) for row in rows)
