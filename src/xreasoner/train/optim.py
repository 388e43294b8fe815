"""AdamW, its learning rate, and the check that stops a broken step before it changes the weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


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


class GuardedStep:
    """The optimizer's step with a clipped gradient. Without one where the loss or the gradient is not finite.

    `allowed` such steps in a row are skipped; the next one stops the run. They never touch the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip_norm: float,
        allowed: int = 0,
        say: Callable[[str], None] = print,
    ) -> None:
        self._model, self._optimizer, self._clip_norm = model, optimizer, clip_norm
        self._allowed, self._say = allowed, say
        self.in_a_row = 0
        """Skipped steps until now; a training state keeps it."""

    def __call__(self, loss: float, step: int) -> float:
        """Take the step, or skip it; the norm of the gradient before it was clipped."""
        parameters = trainable(self._model)
        norm = nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        value = float((norm.full_tensor() if isinstance(norm, DTensor) else norm).item())
        if math.isfinite(loss) and math.isfinite(value):
            nn.utils.clip_grads_with_norm_(parameters, self._clip_norm, norm)
            self._optimizer.step()
            self.in_a_row = 0
        else:
            self._skip(loss, value, step)
        self._optimizer.zero_grad()
        return value

    def _skip(self, loss: float, norm: float, step: int) -> None:
        self.in_a_row += 1
        said = f"step {step}: loss {loss}, gradient norm {norm}; {first_not_finite(self._model)}"
        if self.in_a_row > self._allowed:
            in_a_row = f", {self.in_a_row} in a row" if self.in_a_row > 1 else ""
            raise ValueError(
                f"{said}. Not taken{in_a_row}: the weights are those before it. "
                "Lower lr, check the data of this step, or skip such steps with non_finite_steps"
            )
        self._say(f"{said}. This step is skipped")


def first_not_finite(model: nn.Module) -> str:
    """Weights before gradients: weights that are not finite make everything else so."""
    if name := weights_not_finite(model):
        return f"the weights {name} are not finite"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not torch.isfinite(local(parameter.grad)).all():
            return f"the gradient of {name} is not finite"
    return "all weights are finite, and their gradients too"


def weights_not_finite(model: nn.Module) -> str | None:
    weights = model.named_parameters()
    return next((name for name, one in weights if not torch.isfinite(local(one.detach())).all()), None)


def local(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
