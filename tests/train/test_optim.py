import math

import pytest
import torch
from torch import nn

from xreasoner.train.optim import adamw, cosine, guarded_clip


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


def test_clip_by_hand() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert guarded_clip([parameter], clip_norm=1.0, loss=0.0, step=0) == pytest.approx(5.0)
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("loss", "gradient"), [(math.nan, 1.0), (0.0, math.inf), (0.0, math.nan)])
def test_what_is_not_finite_stops_the_step(loss: float, gradient: float) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([gradient])
    with pytest.raises(ValueError, match=r"step 7: .* weights were not touched"):
        guarded_clip([parameter], clip_norm=1.0, loss=loss, step=7)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ValueError, match="everything is frozen"):
        adamw(nn.Linear(2, 2).requires_grad_(False), lr=0.1)
