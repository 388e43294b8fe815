"""The reward of a reply: the weighted sum of a stage's reward functions."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from xreasoner.recipe.settings import Reward
from xreasoner.records import Problem, Reply
from xreasoner.rewards.functions import SHIPPED, call_shipped
from xreasoner.rewards.user_function import UserFunction

Values = Mapping[str, float | None]
"""Of one reply, by the names of the reward functions."""


class RewardSum:
    def __init__(self, rewards: Sequence[Reward], say: Callable[[str], None]) -> None:
        """`say` gets a line for what a user's function prints."""
        self._rewards, self._say = rewards, say
        self._own = {
            reward.name: UserFunction(reward.function, reward.seconds)
            for reward in rewards
            if reward.function not in SHIPPED
        }

    def __enter__(self) -> "RewardSum":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for function in self._own.values():
            function.close()

    def values(self, problems: Sequence[Problem], replies: Sequence[Reply]) -> list[Values]:
        """One mapping per reply."""
        columns = {reward.name: self._column(reward, problems, replies) for reward in self._rewards}
        return [{name: column[i] for name, column in columns.items()} for i in range(len(replies))]

    def sums(self, group: Sequence[Values]) -> list[float | None]:
        """Of the replies to one problem.

        A function that returned None for all of them does not judge problems of this kind and is left out.
        If it returned None for some only, those have no reward.
        """
        weights = {reward.name: reward.weight for reward in self._rewards}
        judging = [name for name in weights if any(values[name] is not None for values in group)]

        def total(values: Values) -> float | None:
            known = [(weights[name], value) for name in judging if (value := values[name]) is not None]
            return sum(weight * value for weight, value in known) if len(known) == len(judging) > 0 else None

        return [total(values) for values in group]

    def _column(
        self, reward: Reward, problems: Sequence[Problem], replies: Sequence[Reply]
    ) -> list[float | None]:
        own = self._own.get(reward.name)
        if own is None:
            return call_shipped(reward.function, problems, replies)
        return own.values(problems, replies, self._say)


def user_sources(rewards: Sequence[Reward]) -> dict[str, str]:
    """By name, the hashes of users' reward files. A function that cannot be loaded raises a ValueError."""
    found = {}
    for reward in rewards:
        if reward.function not in SHIPPED:
            function = UserFunction(reward.function, reward.seconds)
            try:
                found[reward.name] = function.source()
            finally:
                function.close()
    return found
