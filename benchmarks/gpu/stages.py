"""Settings, policies and graded answers, made in memory."""

import random
from typing import Any

import torch
from benchmarks.gpu.models import tokenizer_of
from transformers import PreTrainedModel

from xreasoner.parallel import World
from xreasoner.recipe.schema import GrpoStage, Optimization, SftStage
from xreasoner.records import Problem, Rollout, Score
from xreasoner.train.collect import GradedRollout, Group
from xreasoner.train.policy import Policy, make_policy
from xreasoner.train.policy_loss import group_advantages, scaled

_KEYS = {"data": [{"source": "jsonl", "path": "unused.jsonl"}], "steps": 1}


def sft_stage(**changes: Any) -> SftStage:
    return SftStage.model_validate({**_KEYS, "kind": "sft", **changes})


def grpo_stage(**changes: Any) -> GrpoStage:
    return GrpoStage.model_validate({**_KEYS, "kind": "grpo", **changes})


def new_policy(lm: PreTrainedModel, stage: Optimization, world: World) -> Policy:
    return make_policy(lm, tokenizer_of(lm.config.vocab_size), stage, 0, world, torch.bfloat16)


def made_up_groups(prompts: int, samples: int, vocabulary: int, longest: int = 60) -> tuple[Group, ...]:
    """Every second answer is right."""
    rng = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(20, vocabulary), k=count))

    def group(number: int) -> Group:
        prompt = tokens(rng.randint(5, 20))
        rollouts = []
        for sample in range(samples):
            length = rng.randint(4, longest)
            logprobs = tuple(-rng.uniform(4, 8) for _ in range(length))
            ids = tokens(length)
            rollouts.append(
                Rollout(f"p{number}", sample, prompt, ids, (1,) * length, logprobs, "", "eos", False, 0)
            )
        return graded(Problem(f"p{number}", ("?",), "1", "exact"), rollouts)

    return tuple(group(number) for number in range(prompts))


def graded(problem: Problem, rollouts: list[Rollout]) -> Group:
    rewards = [float(sample % 2) for sample in range(len(rollouts))]
    advantages = group_advantages(rewards, scaled)
    return Group(
        problem,
        tuple(
            GradedRollout(rollout, Score(bool(reward), "", "made up"), advantage, reward)
            for rollout, reward, advantage in zip(rollouts, rewards, advantages, strict=True)
        ),
    )
