"""A user fixes a reward function in the middle of a run."""

from pathlib import Path

import pytest
from tests.pipeline.test_stage_status import QUIET, interrupted, real

from xreasoner.pipeline.run import run_recipe
from xreasoner.pipeline.stages import make_plan
from xreasoner.storage.run_folder import read_manifest


def test_a_mended_reward_resumes_and_is_noted(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, out = tmp_path / "mine.py", tmp_path / "run"
    rewards = [{"function": "correct"}, {"function": f"{mine}:tokens", "weight": 0.5}]
    recipe_ = real(tiny_base, out, {"steps": 1}, {"rewards": rewards, "steps": 3, "checkpoint_every": 1})
    mine.write_text("def tokens(problem, reply):\n    return 1 / 0\n")
    with pytest.raises(ValueError, match=r"reward .*mine.py:tokens: problem .*: ZeroDivisionError"):
        run_recipe(recipe_, QUIET)
    mine.write_text("def tokens(problem, reply):\n    return reply.tokens\n")
    interrupted(recipe_, "2-rl", 3, monkeypatch)
    mine.write_text("def tokens(problem, reply):\n    return -reply.tokens\n")
    plan = make_plan(recipe_)
    assert (plan.stages[1].status, "source of rewards.tokens was" in plan.stages[1].why) == (
        "resumed",
        True,
    )
    run_recipe(recipe_, QUIET)
    history = read_manifest(out / "stages" / "2-rl").history
    assert [(one.step, one.affects_result) for one in history] == [(0, True), (2, True)]
    assert all(one.change.startswith("source of rewards.tokens was") for one in history)
    mine.write_text("def tokens(problem, reply):\n    return 0\n")
    with pytest.raises(ValueError, match=r"other settings: source of rewards\.tokens was"):
        run_recipe(recipe_, QUIET)
