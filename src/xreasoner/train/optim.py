"""AdamW, its learning rate, and the check that stops a broken step before it changes the weights."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adamw(
    model: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.95), weight_decay: float = 0.0
) -> torch.optim.AdamW:
    """Weight decay applies to matrices, not to vectors (norms, biases)."""
    matrices = [parameter for parameter in trainable(model) if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable(model) if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    filled = [group for group in groups if group["params"]]
    if not filled:
        raise ValueError("everything is frozen: no weights are left to train")
    optimizer = torch.optim.AdamW(filled, lr=lr, betas=betas, fused=True)
    add_moments(optimizer)
    return optimizer


def add_moments(optimizer: torch.optim.AdamW) -> None:
    """What the first step would create: a training state is then complete before it, and loaded in place."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def cosine(lr: float, steps: int, warmup: float, min_lr_ratio: float) -> Callable[[int], float]:
    """Linear warm-up over the first `warmup` share of the steps, then half a cosine to `min_lr_ratio`."""
    rising = round(steps * warmup)

    def lr_at(step: int) -> float:
        if step < rising:
            return lr * (step + 1) / (rising + 1)
        done = (step - rising) / max(1, steps - rising)
        return lr * (min_lr_ratio + (1 - min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2)

    return lr_at


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def guarded_clip(parameters: Sequence[nn.Parameter], clip_norm: float, loss: float, step: int) -> float:
    """Clip the gradient and return its norm. Stops the run, weights unharmed, if it is not finite."""
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    assert isinstance(norm, Tensor)
    value = norm.item()
    if not (math.isfinite(loss) and math.isfinite(value)):
        raise ValueError(
            f"step {step}: loss {loss}, gradient norm {value}; the weights were not touched. "
            "Lower lr, or look at the data of this step"
        )
    return value
