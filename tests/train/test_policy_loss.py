import math

import pytest
import torch

from xreasoner.train.policy_loss import (
    clipped_surrogate,
    group_advantages,
    importance_weight,
    is_clipped,
    kl_estimate,
    sequence_weight,
)

RATIOS = torch.tensor([0.5, 0.5, 0.9, 1.2, 1.5, 1.5])
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0, 1.0, 1.0, -1.0])


def test_the_upper_clip_is_higher_by_hand() -> None:
    loss = clipped_surrogate(RATIOS.log(), torch.zeros(6), ADVANTAGES, clip_low=0.2, clip_high=0.28)
    # min(r A, clip(r) A): 0.5; -0.8 (clipped); 1.8; 1.2 (within 1.28); 1.28 (clipped); -1.5
    torch.testing.assert_close(loss, -torch.tensor([0.5, -0.8, 1.8, 1.2, 1.28, -1.5]))
    clipped = is_clipped(RATIOS.log(), torch.zeros(6), ADVANTAGES, clip_low=0.2, clip_high=0.28)
    assert clipped.tolist() == [False, True, False, False, True, False]


def test_clipped_tokens_have_no_gradient_and_only_they() -> None:
    logprob = RATIOS.log().requires_grad_()
    clipped_surrogate(logprob, torch.zeros(6), ADVANTAGES, 0.2, 0.28).sum().backward()
    assert logprob.grad is not None
    torch.testing.assert_close(logprob.grad, -torch.tensor([0.5, 0, 1.8, 1.2, 0, -1.5]))


def test_on_policy_it_is_the_policy_gradient_of_a_bandit() -> None:
    logits = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    reward = torch.tensor([1.0, 0.0, 0.5])
    logprob = logits.log_softmax(0)
    weight = logprob.detach().exp()  # the expectation over arms, done exactly
    (weight * clipped_surrogate(logprob, logprob.detach(), reward, 0.2, 0.28)).sum().backward()
    exact = weight * (reward - (weight * reward).sum())  # the gradient of the expected reward
    assert logits.grad is not None
    torch.testing.assert_close(-logits.grad, exact)


def test_divergence_and_its_gradient_are_the_exact_ones() -> None:
    logits = torch.tensor([0.7, 0.2, 0.1]).log().requires_grad_()
    reference = torch.tensor([0.3, 0.3, 0.4])
    logprob = logits.log_softmax(0)
    estimate = kl_estimate(logprob, logprob.detach(), reference.log())
    assert (estimate > 0).all()
    expected = (logprob.detach().exp() * estimate).sum()  # the expectation over samples, done exactly
    exact = (logprob.exp() * (logprob - reference.log())).sum()
    assert expected.item() == pytest.approx(exact.item())
    (ours,) = torch.autograd.grad(expected, logits, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(exact, logits)[0])
    assert kl_estimate(logprob, logprob, logprob).tolist() == [0, 0, 0]


def test_importance_is_truncated() -> None:
    old, sampled = torch.tensor([0.0, 0.5, 3.0]), torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(importance_weight(old, sampled, 2.0), torch.tensor([1.0, math.exp(-0.5), 2.0]))


def test_whole_answers_are_weighted_by_the_geometric_mean_or_masked() -> None:
    ratios = [
        *([1.2, 1.0], [0.9]),  # sqrt(1.2 * 1.0); 0.9
        *([2.0, 0.5, 4.0], [0.7]),  # the cube root of 4, and 0.7, are outside
        [1.001] * 1000,  # the product would be 2.7
        [0.8, 1.25],  # both bounds: 1
    ]
    gaps = torch.tensor([ratio for answer in ratios for ratio in answer], dtype=torch.float64).log()
    answer = torch.tensor([number for number, tokens in enumerate(ratios) for _ in tokens])
    found = sequence_weight(gaps - 3, torch.full_like(gaps, -3), answer, 0.8, 1.25)
    each = [math.sqrt(1.2), 0.9, 0.0, 0.0, 1.001, 1.0]
    expected = [weight for weight, tokens in zip(each, ratios, strict=True) for _ in tokens]
    assert found.tolist() == pytest.approx(expected)


def test_an_answer_without_tokens_in_the_row_has_no_weight_to_give() -> None:
    found = sequence_weight(torch.zeros(2), torch.zeros(2), torch.tensor([0, 2]), 0.8, 1.25)
    assert found.tolist() == [1.0, 1.0]


def test_advantages_by_hand() -> None:
    # mean 0.25, deviations 0.75 and -0.25; standard deviation sqrt((0.5625 + 3 * 0.0625) / 3) = 0.5
    assert group_advantages([1, 0, 0, 0], std_scaling=False) == (0.75, -0.25, -0.25, -0.25)
    expected = [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]
    assert group_advantages([1, 0, 0, 0], std_scaling=True) == pytest.approx(expected)


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0], [0.1, 0.1, 0.1], [None, 1.0], [None, None]])
def test_without_spread_there_is_exactly_nothing(rewards: list[float | None]) -> None:
    assert group_advantages(rewards, std_scaling=True) == (0.0,) * len(rewards)


def test_the_unscored_take_no_part() -> None:
    assert group_advantages([1, None, 0], std_scaling=False) == (0.5, 0.0, -0.5)
