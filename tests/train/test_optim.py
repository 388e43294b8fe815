import math
from typing import Any

import pytest
import torch
from torch import nn

from xreasoner.train.optim import GuardedStep, adamw, cosine


def test_cosine_by_hand() -> None:
    lr_at = cosine(lr=1.0, steps=20, warmup=0.2, min_lr_ratio=0.1)
    assert [lr_at(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert lr_at(4) == 1.0
    assert lr_at(12) == pytest.approx(0.1 + 0.9 / 2)
    assert lr_at(20) == pytest.approx(0.1)


def test_only_matrices_decay() -> None:
    layer = nn.Linear(3, 2)
    optimizer = adamw(layer, lr=0.5, weight_decay=0.1)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.5 * 0.1))
    torch.testing.assert_close(layer.bias.detach(), before["bias"])


class TwoWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def with_gradient(self, first: float, second: float) -> None:
        self.first.grad, self.second.grad = torch.tensor([first]), torch.tensor([second])


def plain_step(model: nn.Module, **changes: Any) -> GuardedStep:
    return GuardedStep(model, torch.optim.SGD(model.parameters(), lr=1.0), clip_norm=1.0, **changes)


def test_clip_by_hand() -> None:
    model = TwoWeights()
    model.with_gradient(3.0, 4.0)
    assert plain_step(model)(0.0, step=0) == pytest.approx(5.0)
    assert [one.item() for one in model.parameters()] == pytest.approx([-0.6, -0.8], rel=1e-5)
    assert model.first.grad is None


@pytest.mark.parametrize(
    ("loss", "gradient", "place"),
    [
        (math.nan, 1.0, "all weights are finite"),
        (0.0, math.inf, "the gradient of second is not finite"),
        (0.0, math.nan, "the gradient of second is not finite"),
    ],
)
def test_what_is_not_finite_stops_the_step(loss: float, gradient: float, place: str) -> None:
    model = TwoWeights()
    model.with_gradient(1.0, gradient)
    with pytest.raises(ValueError, match=rf"step 7: .*; {place}.* weights are those before it") as stop:
        plain_step(model)(loss, step=7)
    assert "\n" not in str(stop.value)
    assert [one.item() for one in model.parameters()] == [0, 0]


def test_weights_that_are_not_finite_are_named_first() -> None:
    model = TwoWeights()
    model.with_gradient(math.nan, math.nan)
    with torch.no_grad():
        model.second.fill_(math.inf)
    with pytest.raises(ValueError, match="the weights second are not finite"):
        plain_step(model)(0.0, step=0)


def test_so_many_steps_in_a_row_are_skipped_and_one_more_stops() -> None:
    model, said = TwoWeights(), list[str]()
    take_step = plain_step(model, allowed=2, say=said.append)
    for step, gradient in enumerate([math.nan, math.inf, 0.5, math.nan, math.nan]):
        model.with_gradient(gradient, 0.0)
        take_step(0.0, step)
    assert [line.split(":")[0] for line in said] == ["step 0", "step 1", "step 3", "step 4"]
    assert model.first.item() == -0.5
    model.with_gradient(math.nan, 0.0)
    with pytest.raises(ValueError, match="3 in a row"):
        take_step(0.0, 5)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ValueError, match="everything is frozen"):
        adamw(nn.Linear(2, 2).requires_grad_(False), lr=0.1)
