"""One update against the same loss written plainly: no packing, no shared prompts, full logits."""

import dataclasses
import math
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
from xreasoner.train.collect import Group, RolloutBatch
from xreasoner.train.optim import GuardedStep, adamw
from xreasoner.train.policy import Policy, open_policy
from xreasoner.train.rows import denominator, policy_rows
from xreasoner.train.update import (
    UpdateMetrics,
    add_old,
    add_reference,
    backward,
    split_groups,
    update,
)

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
    gradient = backward(policy, rows, denominator(groups, chosen), chosen)
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

    rows, tokens = policy_rows(groups, chosen, policy.world), denominator(groups, chosen)
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


def test_answers_are_weighted_as_a_whole_by_hand(start: Path, groups: list[Group]) -> None:
    """The sampler's probabilities are 1 / 1.1 of the trainer's in some answers, 1 / 1.5 in others."""
    chosen = settings(importance="sequence", importance_bounds=[0.8, 1.25])
    policy = open_policy(start, chosen, 0, join_world())
    factors = {0: 1.1, 1: 1.5, 2: 0.9, 3: 0.5}
    weights = {0: 1.1, 1: 0.0, 2: 0.9, 3: 0.0}

    def sampled(rollout: Rollout) -> list[float]:
        return (token_logprobs(policy.lm, rollout, 1.0) - math.log(factors[rollout.sample])).tolist()

    dapo_loss(policy.lm, [weighted(group, weights) for group in groups]).backward()
    expected = taken(policy.lm)
    rows = policy_rows([with_logprobs(group, sampled) for group in groups], chosen, policy.world)
    add_old(policy, rows, chosen)
    gradient = backward(policy, rows, denominator(groups, chosen), chosen)
    torch.testing.assert_close(taken(policy.lm), expected, rtol=1e-4, atol=1e-6)
    with_signal = [answer for group in (groups[0], groups[2]) for answer in group.answers]
    tokens = [(answer.rollout.sample, sum(answer.rollout.by_policy)) for answer in with_signal]
    masked = sum(count for sample, count in tokens if weights[sample] == 0)
    assert gradient.importance_cut == pytest.approx(masked / sum(count for _, count in tokens))


def weighted(group: Group, weights: dict[int, float]) -> Group:
    answers = [
        dataclasses.replace(answer, advantage=answer.advantage * weights[answer.rollout.sample])
        for answer in group.answers
    ]
    return dataclasses.replace(group, answers=tuple(answers))


@pytest.mark.parametrize("importance", ["token", "sequence"])
def test_minibatches_and_passes_by_plain_gradient_descent(
    start: Path, groups: list[Group], importance: str
) -> None:
    """Two passes over two parts: four steps, whose ratios are all to the policy before the first."""
    chosen = settings(updates_per_batch=2, minibatches=2, importance=importance, importance_cap=1.0)
    policy, plain = open_policy(start, chosen, 0, join_world()), AutoModelForCausalLM.from_pretrained(start)
    if importance == "sequence":  # every weight is exactly 1 where sampler and trainer agree
        groups = [with_logprobs(g, lambda r: token_logprobs(plain, r, 1.0).tolist()) for g in groups]

    descent = torch.optim.SGD(plain.parameters(), lr=0.05)
    parts = [groups[:2], groups[2:]]
    old = [[token_logprobs(plain, rollout, 1.0).detach() for rollout in rollouts_of(part)] for part in parts]
    losses = []
    for _ in range(2):
        losses = []
        for part, before in zip(parts, old, strict=True):
            descent.zero_grad()
            loss = dapo_loss(plain, part, old=before)
            loss.backward()
            descent.step()
            losses.append(loss.item())

    take_step = GuardedStep(policy.loss, torch.optim.SGD(policy.lm.parameters(), lr=0.05), clip_norm=1e9)
    found = update(policy, None, take_step, RolloutBatch(tuple(groups), 4, 0), chosen, 0)
    torch.testing.assert_close(policy.lm.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)
    assert found.loss == pytest.approx(sum(losses) / 2, rel=1e-3, abs=1e-5)
    assert found.clip_fraction > 0


@pytest.mark.parametrize(
    ("count", "groups", "sizes"),
    [(1, 4, [4]), (2, 5, [2, 3]), (3, 5, [1, 2, 2]), (4, 2, [0, 1, 0, 1]), (2, 0, [0, 0])],
)
def test_a_batch_is_split_in_order(count: int, groups: int, sizes: list[int]) -> None:
    made = [made_up_group(seed, [1, 0]) for seed in range(groups)]
    parts = split_groups(made, count)
    assert [len(part) for part in parts] == sizes
    assert [group for part in parts for group in part] == made


def test_a_minibatch_without_signal_takes_no_step(start: Path, groups: list[Group]) -> None:
    chosen = settings(minibatches=4, updates_per_batch=3)
    policy = open_policy(start, chosen, 0, join_world())
    steps = list[float]()

    class CountedStep(GuardedStep):
        def __call__(self, loss: float, step: int) -> float:
            steps.append(loss)
            return super().__call__(loss, step)

    take_step = CountedStep(policy.loss, adamw(policy.loss, 1e-3), clip_norm=1.0)
    update(policy, None, take_step, RolloutBatch(tuple(groups), 4, 2), chosen, 0)
    assert len(steps) == 2 * 3  # two of the four groups have signal
    silent = RolloutBatch((groups[1], groups[3]), 2, 2)
    assert update(policy, None, take_step, silent, chosen, 1) == UpdateMetrics()
    assert len(steps) == 2 * 3


def test_groups_without_spread_are_not_computed_and_still_counted(start: Path, groups: list[Group]) -> None:
    policy = open_policy(start, settings(), 0, join_world())

    def size(**changes: Any) -> int:
        return sum(row.row.targets for row in policy_rows(groups, settings(**changes), policy.world))

    with_spread = denominator([groups[0], groups[2]], settings())
    everything = denominator(groups, settings())
    assert size() == with_spread < everything
    assert size(skip_zero_spread=False) == size(kl=0.1) == everything


def test_injected_overlong_and_unscored_tokens_get_no_gradient() -> None:
    group = made_up_group(0, [1, 0, None, 0])
    first = group.answers[0]
    cut = dataclasses.replace(first, rollout=dataclasses.replace(first.rollout, stop="length"))
    group = dataclasses.replace(group, answers=(cut, *group.answers[1:]))
    chosen = [sum(rollout.by_policy) for rollout in rollouts_of([group])]
    assert denominator([group], settings()) == chosen[0] + chosen[1] + chosen[3]
    assert denominator([group], settings(overlong="drop")) == chosen[1] + chosen[3]
    assert chosen[1] == len(group.answers[1].rollout.token_ids) - 1


def test_a_prompt_shared_by_its_answers_is_computed_once(start: Path) -> None:
    group = made_up_group(0, [1, 0, 0, 1], prompt=30)
    policy = open_policy(start, settings(), 0, join_world())
    (row,) = policy_rows([group], settings(tokens_per_microbatch=1000), policy.world)
    assert row.row.ids_1T.numel() == 30 + sum(len(rollout.token_ids) for rollout in rollouts_of([group]))
