import random

import pytest

from xreasoner.data.steps import cut_steps


def test_epochs_see_every_sequence_and_steps_keep_the_budget() -> None:
    lengths = random.Random(3).choices(range(1, 10), k=50)
    plan = cut_steps(lengths, tokens_per_step=20, seed=1, epochs=2)
    seen = [index for step in plan for index in step]
    assert sorted(seen[:50]) == list(range(50)) and sorted(seen[50:]) == list(range(50))
    assert seen[:50] != seen[50:]
    assert all(sum(lengths[index] for index in step) <= 20 for step in plan)


def test_the_seed_alone_decides() -> None:
    lengths = [5] * 30
    assert cut_steps(lengths, 20, seed=1, steps=9) == cut_steps(lengths, 20, seed=1, steps=9)
    assert cut_steps(lengths, 20, seed=1, steps=9) != cut_steps(lengths, 20, seed=2, steps=9)
    # A longer plan begins as the shorter one does.
    assert cut_steps(lengths, 20, seed=1, steps=12)[:9] == cut_steps(lengths, 20, seed=1, steps=9)


def test_half_an_epoch_sees_half() -> None:
    plan = cut_steps([5] * 30, 20, seed=0, epochs=0.5)
    assert len({index for step in plan for index in step}) == 15


def test_a_sequence_beyond_the_budget_stands_alone() -> None:
    plans = [cut_steps([50, 3, 3], 10, seed, epochs=1) for seed in range(20)]
    assert all([0] in plan for plan in plans)
    assert any(len(plan) == 2 for plan in plans)


def test_no_data_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        cut_steps([], 10, seed=0, steps=1)
