import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.rollouts import settings
from tests.train.test_sft import KilledError, weights
from transformers import AutoModelForCausalLM

from xreasoner.chat.template import problem_prompt
from xreasoner.parallel import join_world
from xreasoner.records import Problem, Sampling
from xreasoner.train import grpo
from xreasoner.train.collect import draw
from xreasoner.train.grpo import train_grpo
from xreasoner.train.policy import open_policy
from xreasoner.train.samplers import needs_copy, open_sampler
from xreasoner.train.step_display import NoDisplay
from xreasoner.train.update import UpdateMetrics


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_bandit_converges_to_its_best_arm(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    chosen = settings(
        steps=25, samples_per_prompt=16, prompts_per_step=2, eval_every=25, lr=3e-3, samples_every=5
    )
    train_grpo(chosen, gambler, [arms[3]], [arms[3]], tmp_path / "out", 0, NoDisplay())
    lines = metrics(tmp_path / "out")
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert rewards[0] < 0.5
    assert sum(rewards[-5:]) / 5 > 0.95
    held_out = {line["step"]: line["held_out"] for line in lines if "held_out" in line}
    assert held_out.keys() == {0, 25} and held_out[25] == 1.0
    samples = (tmp_path / "out" / "samples" / "step-000025.jsonl").read_text().splitlines()
    assert len(samples) == 32
    assert {"question", "text", "extracted", "correct", "forced"} <= json.loads(samples[0]).keys()


def test_a_users_reward_is_learned_and_logged_by_name(
    gambler: Path, arms: list[Problem], tmp_path: Path
) -> None:
    """A weight of -1 turns correctness round, and 2 a token count into the larger part of the sum."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import time\n\n"
        "def tokens(problem, reply):\n"
        "    time.sleep(0.01)\n"
        "    return reply.tokens / reply.limit\n"
    )
    rewards = [{"function": "correct", "weight": -1.0}, {"function": f"{mine}:tokens", "weight": 2.0}]
    chosen = settings(steps=1, samples_every=1, rewards=rewards)
    train_grpo(chosen, gambler, arms, [], tmp_path / "out", 0, NoDisplay())
    (line,) = metrics(tmp_path / "out")
    samples = [
        json.loads(one) for one in (tmp_path / "out/samples/step-000001.jsonl").read_text().splitlines()
    ]
    assert {tuple(one["rewards"]) for one in samples} == {("correct", "tokens")}
    assert line["reward_tokens"] == pytest.approx(line["answer_length"] / 20)
    assert line["reward"] == pytest.approx(2 * line["reward_tokens"] - line["correct"])
    assert line["reward_correct"] == line["correct"]
    assert 0.01 < line["grading_seconds"] < line["rollout_seconds"]
    assert line["sync_seconds"] < 0.01  # it samples from the trained model itself


def test_in_bfloat16_a_copy_answers_and_follows_the_float32_weights(
    gambler: Path, arms: list[Problem], tmp_path: Path
) -> None:
    """The copy's weights are those that a checkpoint would have; only rounding tells the two apart."""
    policy = open_policy(gambler, settings(dtype="bfloat16"), 0, join_world())
    assert needs_copy(policy)
    assert not needs_copy(open_policy(gambler, settings(dtype="float32"), 0, join_world()))
    in_lora = settings(dtype="bfloat16", lora={"rank": 4})
    assert not needs_copy(open_policy(gambler, in_lora, 0, join_world()))
    with open_sampler(settings(dtype="bfloat16"), gambler, policy) as sampler:
        with torch.no_grad(), sampler.training():
            policy.lm.get_output_embeddings().weight.mul_(0.0)
        prompt = problem_prompt(arms[0], None)
        (rollout,) = sampler.generate(
            [prompt], Sampling(n=1, temperature=1.0, think_budget=4, answer_budget=4)
        )
    drawn = [p for p, own in zip(rollout.logprobs, rollout.by_policy, strict=True) if own]
    # Every token is as likely as any other; a few may never be sampled.
    assert len(set(drawn)) == 1 and drawn[0] == pytest.approx(-math.log(len(policy.tokenizer)), rel=0.01)

    train_grpo(settings(dtype="bfloat16", steps=3, lr=3e-3), gambler, arms, [], tmp_path, 0, NoDisplay())
    assert all(0 < line["mismatch"] < 0.05 and line["sync_seconds"] > 0 for line in metrics(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kl": 0.1, "updates_per_batch": 2},
        {"oversample": 1.5, "eval_every": 2},
        {"lora": {"rank": 4}},
        {"minibatches": 2, "importance": "sequence"},
    ],
    ids=["plain", "kl", "oversample", "lora", "minibatches"],
)
@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_resumed_run_ends_bit_identical(
    gambler: Path,
    arms: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    kill_at: int,
) -> None:
    chosen = settings(**changes)
    train_grpo(chosen, gambler, arms, arms[:2], tmp_path / "whole", 3, NoDisplay())
    unbroken = grpo.update

    def killed(*args: Any, step: int) -> UpdateMetrics:
        if step == kill_at:
            raise KilledError
        return unbroken(*args, step=step)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(grpo, "update", killed)
        train_grpo(chosen, gambler, arms, arms[:2], tmp_path / "broken", 3, NoDisplay())
    train_grpo(chosen, gambler, arms, arms[:2], tmp_path / "broken", 3, NoDisplay())

    whole, resumed = weights(tmp_path / "whole" / "model"), weights(tmp_path / "broken" / "model")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    untimed = [
        [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in metrics(out)]
        for out in (tmp_path / "whole", tmp_path / "broken")
    ]
    assert untimed[0] == untimed[1]
    assert any(line.get("grad_norm", 0) > 0 for line in untimed[0])


def test_a_batch_without_signal_leaves_the_weights_alone(
    start: Path, arms: list[Problem], tmp_path: Path
) -> None:
    """The untaught model never answers: every reward is 0, and momentum must not move anything either."""
    train_grpo(settings(steps=2), start, arms, [], tmp_path / "out", 0, NoDisplay())
    before, after = weights(start), weights(tmp_path / "out" / "model")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [line["skipped"] for line in metrics(tmp_path / "out")] == [1.0, 1.0]


def test_the_sampler_and_the_trainer_agree(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    train_grpo(settings(steps=3), gambler, arms, [], tmp_path / "out", 0, NoDisplay())
    assert all(line["mismatch"] < 1e-3 for line in metrics(tmp_path / "out"))
    assert any(line["mismatch"] > 0 for line in metrics(tmp_path / "out"))


def test_the_best_checkpoint_is_the_result(
    gambler: Path, arms: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = iter([0.1, 0.9, 0.5])
    monkeypatch.setattr(grpo.Collector, "accuracy", lambda *_: next(course))
    train_grpo(settings(steps=4, eval_every=2), gambler, arms, arms, tmp_path / "out", 0, NoDisplay())
    train_grpo(settings(steps=4), gambler, arms, arms, tmp_path / "last", 0, NoDisplay())
    result, best = weights(tmp_path / "out" / "model"), weights(tmp_path / "out" / "best")
    last = weights(tmp_path / "last" / "model")
    assert all(torch.equal(result[name], best[name]) for name in best)
    assert any(not torch.equal(result[name], last[name]) for name in last)


def test_every_epoch_draws_every_problem_once(problems: list[Problem]) -> None:
    drawn = [draw(problems, 5, position).id for position in range(2 * len(problems))]
    assert sorted(drawn[: len(problems)]) == sorted(drawn[len(problems) :]) == sorted(p.id for p in problems)
    assert drawn[: len(problems)] != drawn[len(problems) :]


def test_the_result_is_a_plain_checkpoint(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    train_grpo(settings(steps=1), gambler, arms, [], tmp_path / "out", 0, NoDisplay())
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model").dtype == torch.float32
