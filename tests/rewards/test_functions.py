"""Shipped reward functions and users' own ones, in a real process: values by hand, and each way to fail."""

from pathlib import Path
from typing import Any

import pytest

from xreasoner.recipe.settings import Reward
from xreasoner.records import Problem, Reply, Score
from xreasoner.rewards.functions import correct, form, length, overlong
from xreasoner.rewards.reward_sum import RewardSum, user_sources

PROBLEM = Problem("p1", ("What is 2 + 2?",), "4", "math", tags={"level": 3})
RIGHT, WRONG, UNKNOWN = Score(True, "4", ""), Score(False, "5", ""), Score(None, None, "")


def reply(text: str = "", score: Score = RIGHT, **changes: Any) -> Reply:
    facts = {"sample": 0, "tokens": 10, "think_tokens": 5, "limit": 100, "stop": "eos", "forced_exit": False}
    return Reply(text=text, score=score, **(facts | changes))


def test_correct() -> None:
    assert [correct(PROBLEM, reply(score=one)) for one in (RIGHT, WRONG, UNKNOWN)] == [1.0, 0.0, None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("\n<think>\na\n</think>\n<answer>b</answer>\n", 1),
        ("<think></think><answer></answer>", 1),
        ("<answer>b</answer>", 0),
        ("<answer>b</answer><think>a</think>", 0),
        ("<think>a</think><answer>b</answer> done", 0),
        ("So <think>a</think><answer>b</answer>", 0),
        ("<think>a</think> thus <answer>b</answer>", 0),
        ("<think>a<think>a</think><answer>b</answer>", 0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0),
        ("<think>a<answer>b</answer></think><answer>b</answer>", 0),
        ("<think>a</think><answer>b", 0),
        ("", 0),
    ],
)
def test_form(text: str, value: float) -> None:
    assert form(PROBLEM, reply(text)) == value


def test_form_takes_linear_time() -> None:
    """A million tags: a pattern that tries every split would never end."""
    assert form(PROBLEM, reply("<think>" * 150_000)) == 0
    assert form(PROBLEM, reply("<think>" + "a" * 1_000_000)) == 0


@pytest.mark.parametrize(("tokens", "value"), [(0, 0), (80, 0), (90, -0.5), (100, -1)])
def test_overlong(tokens: int, value: float) -> None:
    assert overlong(PROBLEM, reply(tokens=tokens)) == pytest.approx(value)


def test_length_compares_the_replies_to_one_problem() -> None:
    other = Problem("p2", ("?",), "4", "math")
    pairs = [
        (PROBLEM, reply(tokens=10)),
        (PROBLEM, reply(tokens=20)),
        (PROBLEM, reply(tokens=30)),
        (PROBLEM, reply(tokens=10, score=WRONG)),
        (PROBLEM, reply(tokens=30, score=WRONG)),
        (other, reply(tokens=500)),
    ]
    assert length(*zip(*pairs, strict=True)) == [0.5, 0.0, -0.5, 0.0, -0.5, 0.0]


def test_sums_by_hand() -> None:
    """Weights 1 and 0.5. An unscored reply has no reward; a function that judges none is left out."""
    rewards = [Reward(function="correct"), Reward(function="form", weight=0.5)]
    with RewardSum(rewards, print) as total:
        good = "<think>a</think><answer>4</answer>"
        values = total.values([PROBLEM] * 3, [reply(good), reply("4", WRONG), reply(good, UNKNOWN)])
        assert values == [
            {"correct": 1.0, "form": 1.0},
            {"correct": 0.0, "form": 0.0},
            {"correct": None, "form": 1.0},
        ]
        assert total.sums(values) == [1.5, 0.0, None]
        assert total.sums(values[2:]) == [0.5]
        assert total.sums([{"correct": None, "form": None}]) == [None]


# --- users' functions ----------------------------------------------------------------------------------

MINE = """
import asyncio

def single(problem, reply):
    return len(reply.text) + problem.tags["level"] if reply.score.correct else None

def batch(problems, replies):
    return list(range(len(replies)))

async def waits(problem, reply):
    await asyncio.sleep(0.5)
    return reply.tokens

def talks(problem, reply):
    print("look:", reply.sample)
    return True

def divides(problem, reply):
    return 1 / (reply.sample - 1)

def returns_text(problem, reply):
    return "high"

def returns_nan(problem, reply):
    return float("nan")

def too_few(problems, replies):
    return [1.0]

def hangs(problem, reply):
    while True:
        pass

def dies(problem, reply):
    import os
    os._exit(3)

def odd(text, key):
    return 1.0
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_rewards.py"
    path.write_text(MINE)
    return path


def call(mine: Path, name: str, replies: list[Reply], seconds: float = 60.0) -> tuple[list[Any], list[str]]:
    said: list[str] = []
    with RewardSum([Reward(function=f"{mine}:{name}", seconds=seconds)], said.append) as rewards:
        values = rewards.values([PROBLEM] * len(replies), replies)
    return [one[name] for one in values], said


def test_a_function_for_one_reply(mine: Path) -> None:
    values, said = call(mine, "single", [reply("ab"), reply("ü" * 5), reply("x", WRONG)])
    assert (values, said) == ([5.0, 8.0, None], [])


def test_a_function_for_all_replies(mine: Path) -> None:
    assert call(mine, "batch", [reply()] * 5)[0] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_async_calls_wait_together(mine: Path) -> None:
    replies = [reply(tokens=count) for count in range(20)]
    assert call(mine, "waits", replies, seconds=5.0)[0] == list(map(float, range(20)))


def test_what_it_prints_is_one_line_that_names_the_sample(mine: Path) -> None:
    values, said = call(mine, "talks", [reply(sample=0), reply(sample=1)])
    assert values == [1.0, 1.0]
    assert sorted(said) == [
        f"reward {mine}:talks: problem p1, sample {sample}: it printed: look: {sample}" for sample in (0, 1)
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("divides", r"problem p1, sample 1: ZeroDivisionError: division by zero \(my_rewards.py:19\)"),
        ("returns_text", "sample 0: ValueError: it returned 'high'; a finite number or None is needed"),
        ("returns_nan", "it returned nan; a finite number or None is needed"),
        ("too_few", "3 replies, the first of problem p1, sample 0: ValueError: it returned 1 values for 3"),
        ("dies", "problem p1, sample 0: its process ended with exit code 3"),
        ("odd", r"its module: its parameters are \(text, key\); write \(problem, reply\)"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_each_fault_is_one_line(mine: Path, name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        call(mine, name, [reply(sample=sample) for sample in (0, 1, 2)])
    assert "\n" not in str(caught.value)


def test_a_call_that_hangs_is_ended(mine: Path) -> None:
    with pytest.raises(ValueError, match=r"sample 0: it took more than 0\.5 seconds"):
        call(mine, "hangs", [reply()], seconds=0.5)


def test_a_module_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match=r"its module: ModuleNotFoundError: No module named .*broken.py:1"):
        user_sources([Reward(function=f"{tmp_path}/broken.py:score")])
    with pytest.raises(ValueError, match="its module: there is no such file"):
        user_sources([Reward(function=f"{tmp_path}/absent.py:score")])


def test_another_source_is_another_reward(mine: Path) -> None:
    wanted = [Reward(function="correct"), Reward(function=f"{mine}:single")]
    before = user_sources(wanted)
    assert list(before) == ["single"]
    mine.write_text(MINE.replace("0.5", "0.6"))
    assert user_sources(wanted) != before
