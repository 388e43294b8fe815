"""One update against the same loss written plainly: no packing, no shared prompts, full logits."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.rollouts import (
    dapo_loss,
    made_up_group,
    rollouts_of,
    settings,
    token_logprobs,
    with_capped_weights,
    with_logprobs,
)
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from xreasoner.parallel import join_world
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Rollout
from xreasoner.train.collect import Group
from xreasoner.train.policy import Policy, open_policy
from xreasoner.train.rows import learned_tokens, policy_rows
from xreasoner.train.update import UpdateMetrics, add_reference, backward

# The importance weights have their own test: here they are made exactly 1.
UNWEIGHTED = {"importance_cap": 1.0}


@pytest.fixture
def groups() -> list[Group]:
    rewards = ([1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0])
    return [with_capped_weights(made_up_group(seed, r)) for seed, r in enumerate(rewards)]


def ours(
    policy: Policy, groups: list[Group], chosen: GrpoStage, reference: Policy | None = None
) -> tuple[UpdateMetrics, dict[str, Tensor]]:
    rows = policy_rows(groups, chosen, policy.world)
    if reference:
        add_reference(reference, rows, chosen.temperature)
    gradient = backward(policy, rows, learned_tokens(groups, chosen.overlong), chosen)
    return gradient, taken(policy.lm)


def taken(lm: PreTrainedModel) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in lm.named_parameters() if p.grad is not None}
    lm.zero_grad()
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("skip", [True, False])
def test_loss_and_gradient(start: Path, groups: list[Group], temperature: float, skip: bool) -> None:
    chosen = settings(temperature=temperature, skip_zero_spread=skip, **UNWEIGHTED)
    policy = open_policy(start, chosen, 0, join_world())
    loss = dapo_loss(policy.lm, groups, temperature)
    loss.backward()
    expected = taken(policy.lm)
    gradient, found = ours(policy, groups, chosen)
    assert gradient.loss == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_with_a_reference(
    start: Path, groups: list[Group], new_lm: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    chosen = settings(kl=0.3, **UNWEIGHTED)
    policy = open_policy(start, chosen, 0, join_world())
    other = new_lm(seed=1)
    reference = dataclasses.replace(open_policy(start, chosen, 0, join_world()))
    reference.lm.load_state_dict(other.state_dict())
    loss = dapo_loss(policy.lm, groups, reference=other, kl=0.3)
    loss.backward()
    expected = taken(policy.lm)
    gradient, found = ours(policy, groups, chosen, reference)
    assert gradient.kl > 0
    assert gradient.loss == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_second_update_is_clipped_against_the_first_policy(start: Path, groups: list[Group]) -> None:
    chosen = settings(**UNWEIGHTED)
    policy = open_policy(start, chosen, 0, join_world())
    plain = AutoModelForCausalLM.from_pretrained(start)
    old = [token_logprobs(plain, rollout, 1.0).detach() for rollout in rollouts_of(groups)]

    rows, tokens = policy_rows(groups, chosen, policy.world), learned_tokens(groups, "score")
    backward(policy, rows, tokens, chosen)
    taken(policy.lm)
    with torch.no_grad():
        for parameter in policy.lm.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    gradient = backward(policy, rows, tokens, chosen)
    found = taken(policy.lm)

    loss = dapo_loss(policy.lm, groups, old=old)
    loss.backward()
    assert 0 < gradient.clip_fraction < 1
    assert gradient.loss == pytest.approx(loss.item(), rel=1e-4)
    torch.testing.assert_close(found, taken(policy.lm), rtol=1e-4, atol=1e-5)


def test_importance_weights_correct_the_sampler_by_hand(start: Path, groups: list[Group]) -> None:
    """A sampler that gave every token half the trainer's probability: each weight is 2, below the cap."""
    chosen = settings(importance_cap=5.0)
    policy = open_policy(start, chosen, 0, join_world())

    def halved(rollout: Rollout) -> list[float]:
        return (token_logprobs(policy.lm, rollout, 1.0) - 0.6931472).tolist()

    loss = dapo_loss(policy.lm, groups)
    loss.backward()
    expected = {name: 2 * gradient for name, gradient in taken(policy.lm).items()}
    gradient, found = ours(policy, [with_logprobs(group, halved) for group in groups], chosen)
    assert gradient.mismatch == pytest.approx(0.6931472, rel=1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_groups_without_spread_are_not_computed_and_still_counted(start: Path, groups: list[Group]) -> None:
    policy = open_policy(start, settings(), 0, join_world())

    def size(**changes: Any) -> int:
        return sum(row.row.targets for row in policy_rows(groups, settings(**changes), policy.world))

    with_spread = learned_tokens([groups[0], groups[2]], "score")
    everything = learned_tokens(groups, "score")
    assert size() == with_spread < everything
    assert size(skip_zero_spread=False) == size(kl=0.1) == everything


def test_injected_overlong_and_unscored_tokens_get_no_gradient() -> None:
    group = made_up_group(0, [1, 0, None, 0])
    first = group.answers[0]
    cut = dataclasses.replace(first, rollout=dataclasses.replace(first.rollout, stop="length"))
    group = dataclasses.replace(group, answers=(cut, *group.answers[1:]))
    chosen = [sum(rollout.by_policy) for rollout in rollouts_of([group])]
    assert learned_tokens([group], "score") == chosen[0] + chosen[1] + chosen[3]
    assert learned_tokens([group], "drop") == chosen[1] + chosen[3]
    assert chosen[1] == len(group.answers[1].rollout.token_ids) - 1


def test_a_prompt_shared_by_its_answers_is_computed_once(start: Path) -> None:
    group = made_up_group(0, [1, 0, 0, 1], prompt=30)
    policy = open_policy(start, settings(), 0, join_world())
    (row,) = policy_rows([group], settings(tokens_per_microbatch=1000), policy.world)
    assert row.row.ids_1T.numel() == 30 + sum(len(rollout.token_ids) for rollout in rollouts_of([group]))
