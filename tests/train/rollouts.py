"""Invented groups of answers, and an independent GRPO loss: padded, with full logits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Rollout, Score
from xreasoner.train.collect import GradedRollout, Group
from xreasoner.train.policy_loss import group_advantages, scaled


def settings(**changes: Any) -> GrpoStage:
    keys = {
        "kind": "grpo",
        "data": [{"source": "jsonl", "path": "unused.jsonl"}],
        "steps": 4,
        "lr": 1e-2,
        "prompts_per_step": 4,
        "samples_per_prompt": 4,
        "think_budget": 12,
        "answer_budget": 8,
        "tokens_per_microbatch": 90,
        "checkpoint_every": 2,
        "samples_every": 2,
        "held_out": 2,
    }
    return GrpoStage.model_validate({**keys, **changes})


def made_up_group(seed: int, rewards: Sequence[float | None], prompt: int = 7) -> Group:
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 90, (count,), generator=generator).tolist())

    prompt_ids = tokens(prompt)

    def rollout(sample: int) -> Rollout:
        length = int(torch.randint(4, 20, (), generator=generator))
        # An injected token in the middle of every second answer.
        by_policy = tuple(int(sample % 2 == 0 or i != length // 2) for i in range(length))
        surprise = torch.rand(length, generator=generator) * 3
        logprobs = tuple(
            -s if chosen else 0.0 for s, chosen in zip(surprise.tolist(), by_policy, strict=True)
        )
        return Rollout(
            f"{seed}", sample, prompt_ids, tokens(length), by_policy, logprobs, "", "eos", sample % 2 == 1, 3
        )

    advantages = group_advantages(rewards, scaled)
    answers = (
        GradedRollout(rollout(sample), Score(None if r is None else bool(r), "", "made up"), advantage, r)
        for sample, (r, advantage) in enumerate(zip(rewards, advantages, strict=True))
    )
    return Group(Problem(f"{seed}", ("?",), "1", "exact"), tuple(answers))


def rollouts_of(groups: Sequence[Group]) -> list[Rollout]:
    return [answer.rollout for group in groups for answer in group.answers]


def with_logprobs(group: Group, logprobs_of: Callable[[Rollout], Sequence[float]]) -> Group:
    """The same answers, as a sampler with other probabilities would have given them."""
    answers = (
        replace(answer, rollout=replace(answer.rollout, logprobs=tuple(logprobs_of(answer.rollout))))
        for answer in group.answers
    )
    return replace(group, answers=tuple(answers))


def with_capped_weights(group: Group) -> Group:
    """Sampling log-probabilities far below any real one make every importance weight hit its cap."""
    return with_logprobs(group, lambda rollout: [-50.0] * len(rollout.logprobs))


def token_logprobs(lm: PreTrainedModel, rollout: Rollout, temperature: float) -> Tensor:
    """Each answer alone, with full logits, under transformers' own attention."""
    ids_T = torch.tensor(rollout.prompt_ids + rollout.token_ids)
    logits_TV = lm(input_ids=ids_T[None], use_cache=False).logits[0].float() / temperature
    logprob_T = logits_TV[:-1].log_softmax(-1).gather(1, ids_T[1:, None])[:, 0]
    return logprob_T[len(rollout.prompt_ids) - 1 :]


def dapo_loss(
    lm: PreTrainedModel,
    groups: Sequence[Group],
    temperature: float = 1.0,
    old: Sequence[Tensor] | None = None,
    reference: PreTrainedModel | None = None,
    kl: float = 0.0,
) -> Tensor:
    """-min(r A, clip(r) A) + kl * k3, summed over the policy's tokens, over their number in the batch."""
    answers = [answer for group in groups for answer in group.answers]
    loss, count = torch.zeros(()), 0
    for i, answer in enumerate(answers):
        rollout, advantage = answer.rollout, answer.advantage
        mask = torch.tensor(rollout.by_policy)
        logprob = token_logprobs(lm, rollout, temperature)
        ratio = (logprob - (logprob.detach() if old is None else old[i])).exp()
        per_token = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage)
        if reference is not None:
            gap = token_logprobs(reference, rollout, temperature).detach() - logprob
            per_token = per_token + kl * ratio * (gap.exp() - gap - 1)
        loss, count = loss + (per_token * mask).sum(), count + int(mask.sum())
    return loss / count
