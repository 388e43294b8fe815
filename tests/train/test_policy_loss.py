import math
from pathlib import Path

import pytest
import torch
from tests.train.rollouts import settings
from torch import Tensor

from xreasoner.pipeline.stage_status import formula_sources
from xreasoner.train.policy_loss import (
    LossInputs,
    centered,
    cispo,
    group_advantages,
    importance_weight,
    kl_estimate,
    mean_ratio,
    policy_loss,
    scaled,
    sequence_ratio,
    sequence_weight,
    token_ratio,
)

RATIOS = torch.tensor([0.5, 0.5, 0.9, 1.2, 1.5, 1.5])
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0, 1.0, 1.0, -1.0])


def inputs(logprob: Tensor, old: Tensor, advantage: Tensor, answer_ratio: Tensor | None = None) -> LossInputs:
    ratio = torch.ones_like(old) if answer_ratio is None else answer_ratio
    return LossInputs(logprob, old, advantage, ratio, clip_low=0.2, clip_high=0.28)


def test_the_upper_clip_is_higher_by_hand() -> None:
    found = token_ratio(inputs(RATIOS.log(), torch.zeros(6), ADVANTAGES))
    # min(r A, clip(r) A): 0.5; -0.8 (clipped); 1.8; 1.2 (within 1.28); 1.28 (clipped); -1.5
    torch.testing.assert_close(found.loss_N, -torch.tensor([0.5, -0.8, 1.8, 1.2, 1.28, -1.5]))
    assert found.clipped_N.tolist() == [False, True, False, False, True, False]


def gradient(loss: Tensor, logprob: Tensor) -> list[float]:
    return torch.autograd.grad(loss.sum(), logprob)[0].tolist()


def test_clipped_tokens_have_no_gradient_and_only_they() -> None:
    logprob = RATIOS.log().requires_grad_()
    loss = token_ratio(inputs(logprob, torch.zeros(6), ADVANTAGES)).loss_N
    assert gradient(loss, logprob) == pytest.approx([-0.5, 0, -1.8, -1.2, 0, 1.5])


def test_one_ratio_for_an_answer_clips_all_of_its_tokens_or_none() -> None:
    """Token ratios of 0.5 and 2 are 1 for their answer; that of the second answer, 1.5, is out of bounds."""
    logprob = torch.tensor([0.5, 2.0, 1.5, 1.5]).log().requires_grad_()
    answer, old = torch.tensor([0, 0, 1, 1]), torch.zeros(4)
    ratio = mean_ratio(logprob.detach(), old, answer)
    assert ratio.tolist() == pytest.approx([1, 1, 1.5, 1.5])
    found = sequence_ratio(inputs(logprob, old, torch.tensor([2.0, 2.0, 1.0, 1.0]), ratio))
    assert found.loss_N.tolist() == pytest.approx([-2, -2, -1.28, -1.28])
    assert found.clipped_N.tolist() == [False, False, True, True]
    assert gradient(found.loss_N, logprob) == pytest.approx([-2, -2, 0, 0])


def test_cispo_truncates_the_weight_and_keeps_every_gradient() -> None:
    logprob = RATIOS.log().requires_grad_()
    found = cispo(inputs(logprob, torch.zeros(6), ADVANTAGES))
    weights = [0.5, 0.5, 0.9, 1.2, 1.28, 1.28]
    expected = [-w * a for w, a in zip(weights, ADVANTAGES.tolist(), strict=True)]
    assert gradient(found.loss_N, logprob) == pytest.approx(expected)
    assert not found.clipped_N.any()


def test_on_policy_it_is_the_policy_gradient_of_a_bandit() -> None:
    logits = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    reward = torch.tensor([1.0, 0.0, 0.5])
    logprob = logits.log_softmax(0)
    weight = logprob.detach().exp()  # the expectation over arms, done exactly
    (weight * token_ratio(inputs(logprob, logprob.detach(), reward)).loss_N).sum().backward()
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
    assert group_advantages([1, 0, 0, 0], centered) == (0.75, -0.25, -0.25, -0.25)
    expected = [0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001]
    assert group_advantages([1, 0, 0, 0], scaled) == pytest.approx(expected)


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0], [0.1, 0.1, 0.1], [None, 1.0], [None, None]])
def test_without_spread_there_is_exactly_nothing(rewards: list[float | None]) -> None:
    assert group_advantages(rewards, scaled) == (0.0,) * len(rewards)


def test_the_unscored_take_no_part() -> None:
    assert group_advantages([1, None, 0], centered) == (0.5, 0.0, -0.5)


OWN = """
from xreasoner.train.policy_loss import LossInputs, LossOutputs

def reinforce(inputs: LossInputs) -> LossOutputs:
    loss_N = -inputs.advantage_N * inputs.logprob_N
    return LossOutputs(loss_N, loss_N != loss_N)

def best_of(rewards):
    return [float(reward == max(rewards)) for reward in rewards]
"""


def test_formulas_of_ones_own_by_their_place(tmp_path: Path) -> None:
    file = tmp_path / "my_losses.py"
    file.write_text(OWN)
    chosen = settings(loss=f"{file}:reinforce", advantage=f"{file}:best_of")
    assert set(formula_sources(chosen)) == {"loss", "advantage"}
    found = policy_loss(chosen.loss)(inputs(RATIOS.log(), torch.zeros(6), ADVANTAGES))
    torch.testing.assert_close(found.loss_N, -ADVANTAGES * RATIOS.log())
    before = formula_sources(chosen)
    file.write_text(OWN + "# changed")
    assert formula_sources(chosen) != before
    assert formula_sources(settings()) == {}


def test_a_formula_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1/0")
    with pytest.raises(ValueError, match=r"^loss .*broken.py:f: ZeroDivisionError: division by zero"):
        formula_sources(settings(loss=f"{tmp_path / 'broken.py'}:f"))
    with pytest.raises(ValueError, match=r"^advantage nowhere.py:f: there is no such file$"):
        formula_sources(settings(advantage="nowhere.py:f"))
