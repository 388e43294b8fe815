import pytest

from xreasoner.train.advantages import group_advantages


def test_by_hand() -> None:
    # mean 0.25, deviations 0.75 and -0.25; standard deviation sqrt((0.5625 + 3 * 0.0625) / 3) = 0.5
    assert group_advantages([1, 0, 0, 0], std_scaling=False) == (0.75, -0.25, -0.25, -0.25)
    expected = [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]
    assert group_advantages([1, 0, 0, 0], std_scaling=True) == pytest.approx(expected)


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0], [0.1, 0.1, 0.1], [None, 1.0], [None, None]])
def test_without_spread_there_is_exactly_nothing(rewards: list[float | None]) -> None:
    assert group_advantages(rewards, std_scaling=True) == (0.0,) * len(rewards)


def test_the_unscored_take_no_part() -> None:
    assert group_advantages([1, None, 0], std_scaling=False) == (0.5, 0.0, -0.5)
