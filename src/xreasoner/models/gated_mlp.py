"""Gated MLPs that keep two tensors for the backward pass instead of four.

Of `down(act(gate) * up)`, autograd keeps gate, act(gate), up and the product: more than half of what a layer
keeps. The activation and the product are cheap to compute again, so here only gate and up are kept. No matrix
product is repeated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

GATED = frozenset({"Qwen2MLP", "Qwen3MLP", "LlamaMLP", "MistralMLP", "Gemma3MLP"})
"""Classes of transformers whose forward pass is exactly that."""


@contextmanager
def recomputed_products(model: nn.Module) -> Iterator[None]:
    """Around forward passes of training. Gradient checkpointing keeps less itself: then nothing changes."""
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    mlps = [] if checkpointed else [m for m in model.modules() if type(m).__name__ in GATED]
    for mlp in mlps:
        mlp.forward = partial(_forward, mlp)
    try:
        yield
    finally:
        for mlp in mlps:
            del mlp.forward  # the class's own is found again


def _forward(mlp: Any, hidden: Tensor) -> Tensor:
    gate, up, act = mlp.gate_proj(hidden), mlp.up_proj(hidden), mlp.act_fn
    product = _GatedProduct.apply(gate, up, act)
    kept_gate, kept_up = gate.detach(), up.detach()
    # Autograd holds the hooks: they must not hold the product itself.
    identity = product.data_ptr(), product.numel(), product.dtype

    def keep(tensor: Tensor) -> Tensor | torch.Size:
        """Every linear layer keeps its input, possibly in another shape."""
        is_product = (tensor.data_ptr(), tensor.numel(), tensor.dtype) == identity
        return tensor.shape if is_product else tensor

    def recover(kept: Tensor | torch.Size) -> Tensor:
        return kept if isinstance(kept, Tensor) else (act(kept_gate) * kept_up).view(kept)

    with saved_tensors_hooks(keep, recover):
        out: Tensor = mlp.down_proj(product)
    return out


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act = act
        return act(gate) * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
        with torch.enable_grad():
            product = ctx.act(gate) * up
        return *torch.autograd.grad(product, (gate, up), grad), None
