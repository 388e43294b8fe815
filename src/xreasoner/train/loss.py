"""The loss of a packed row's target tokens, from hidden states and head. All logits never exist at once.

Every loss here is a sum over tokens, and a token's loss depends on its own log-probability alone. So the
gradients of a chunk are known as soon as its logits are: one pass over the head gives log-probabilities, loss
and the gradients of hidden states and head. The backward pass computes no logits again. A chunk's logits
become its probabilities and then its gradient in place, and on a CPU the next chunk uses the same memory:
fresh pages would cost more than the softmax does.

Suffixes: 1 the batch of one row, T tokens of the row, N its target tokens, C those of one chunk,
V vocabulary, E hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xreasoner.models.find_tower import body_of
from xreasoner.models.gated_mlp import recomputed_products
from xreasoner.models.packed_attention import packed_attention
from xreasoner.train.rows import PackedRow

TokenLoss = Callable[[Tensor, slice], Tensor]
"""From the log-probabilities of a chunk of targets, and which targets these are, to their losses."""

CHUNK_BYTES = {"cpu": 256 * 2**20, "cuda": 512 * 2**20}
"""Float32 logits of one chunk. `estimate.memory` counts them too."""
LEAST_ROWS = 256
"""Fewer rows a chunk would read the whole head too often."""


@dataclass(frozen=True)
class Head:
    """How a model comes from its last hidden states to logits."""

    weight_VE: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(
        self, hidden_CE: Tensor, temperature: float, out_CV: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        """Float32 logits, in `out_CV` if given, and their derivative by what the matrix product gave."""
        logits_CV = _product(hidden_CE, self.weight_VE, out_CV)
        if self.bias_V is not None:
            logits_CV += self.bias_V
        if self.softcap is None:
            slope = self.scale / temperature
            return (logits_CV if slope == 1 else logits_CV.mul_(slope)), slope
        bent_CV = logits_CV.mul_(self.scale / self.softcap).tanh_()
        slope_CV = (1 - bent_CV.square()).mul_(self.scale / temperature)
        return bent_CV.mul_(self.softcap / temperature), slope_CV


@dataclass(frozen=True)
class TargetLoss:
    loss: Tensor
    """The sum over the targets. Only this has a gradient."""
    logprob_N: Tensor
    entropy_N: Tensor | None


def negative_logprob(logprob_C: Tensor, _: slice) -> Tensor:
    """The loss of supervised training."""
    return -logprob_C


def target_loss(
    hidden_NE: Tensor,
    head: Head,
    target_N: Tensor,
    token_loss: TokenLoss = negative_logprob,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> TargetLoss:
    """Matrix products in the precision of autocast, or of the hidden states; all else in float32."""
    device = hidden_NE.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NE.dtype
    with torch.autocast(device, enabled=False):
        loss, logprob_N, entropy_N = _ChunkedLoss.apply(
            hidden_NE,
            head.weight_VE,
            head.bias_V,
            head,
            target_N,
            token_loss,
            temperature,
            with_entropy,
            dtype,
        )
    return TargetLoss(loss, logprob_N, entropy_N)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor | None,
        head: Head,
        target_N: Tensor,
        token_loss: TokenLoss,
        temperature: float,
        with_entropy: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        wide = torch.promote_types(dtype, torch.float32)
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        wants_any = wants_hidden or wants_weight or wants_bias
        head = Head(weight_VE.to(dtype), bias_V, head.scale, head.softcap)
        vocabulary = weight_VE.shape[0]
        rows = max(LEAST_ROWS, CHUNK_BYTES[hidden_NE.device.type] // (4 * vocabulary))
        loss = hidden_NE.new_zeros((), dtype=wide)
        logprob_N = hidden_NE.new_empty(len(target_N), dtype=wide)
        entropy_N = torch.empty_like(logprob_N) if with_entropy else None
        grad_hidden_NE = torch.empty_like(hidden_NE) if wants_hidden else None
        grad_weight_VE: Tensor | None = None
        grad_bias_V = torch.zeros_like(bias_V, dtype=wide) if bias_V is not None and wants_bias else None
        pages_CV: Tensor | None = None
        if hidden_NE.device.type == "cpu":
            pages_CV = hidden_NE.new_empty(min(rows, len(target_N)), vocabulary, dtype=wide)
        last: tuple[Tensor, Tensor] | tuple[None, None] = None, None
        for start in range(0, len(target_N), rows):
            at = slice(start, start + rows)
            hidden_CE, target_C1 = hidden_NE[at].to(dtype), target_N[at, None]
            out_CV = None if pages_CV is None else pages_CV[: len(hidden_CE)]
            logits_CV, slope = head.logits(hidden_CE, temperature, out_CV)
            below_CV = logits_CV.sub_(logits_CV.amax(-1, keepdim=True))
            below_C = below_CV.gather(1, target_C1)[:, 0]
            odds_CV = below_CV.exp_()
            total_C = odds_CV.sum(-1)
            logprob_N[at] = below_C - total_C.log()
            loss_part, slope_C = _loss_and_slope(token_loss, logprob_N[at], at)
            loss += loss_part
            if entropy_N is not None:
                entropy_N[at] = total_C.log() + torch.special.entr(odds_CV).sum(-1) / total_C
            if not wants_any:
                continue
            # The derivative of log p(target) by the logits: one at the target, less the probabilities.
            grad_CV = odds_CV.mul_((-slope_C / total_C)[:, None])
            grad_CV.scatter_add_(1, target_C1, slope_C[:, None])
            grad_CV = grad_CV.mul_(slope) if isinstance(slope, Tensor) or slope != 1 else grad_CV
            if grad_bias_V is not None:
                grad_bias_V += grad_CV.sum(0)
            grad_CV = grad_CV.to(dtype)
            if grad_hidden_NE is not None:
                grad_hidden_NE[at] = grad_CV @ head.weight_VE
            if not wants_weight:
                continue
            if start + rows < len(target_N):
                grad_weight_VE = _add_product(grad_weight_VE, grad_CV.T, hidden_CE, wide)
            else:
                last = grad_CV, hidden_CE
        ctx.save_for_backward(grad_hidden_NE, grad_weight_VE, grad_bias_V, *last)
        ctx.dtypes = hidden_NE.dtype, weight_VE.dtype, None if bias_V is None else bias_V.dtype
        ctx.mark_non_differentiable(*(x for x in (logprob_N, entropy_N) if x is not None))
        return loss, logprob_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        *grads, last_grad_CV, last_hidden_CE = ctx.saved_tensors
        # In place: a second copy of the head's gradient would be the largest tensor here.
        grads = [None if grad is None else grad.mul_(grad_loss.to(grad.dtype)) for grad in grads]
        if last_grad_CV is not None:
            # If one chunk is all, the head's gradient is written once and never read to be scaled.
            scaled_CE = (last_hidden_CE * grad_loss).to(last_hidden_CE.dtype)
            grads[1] = _add_product(grads[1], last_grad_CV.T, scaled_CE, grad_loss.dtype)
        found = (
            None if grad is None else grad.to(dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)
        )
        return *found, None, None, None, None, None, None


def _loss_and_slope(token_loss: TokenLoss, logprob_C: Tensor, at: slice) -> tuple[Tensor, Tensor]:
    """The chunk's loss, and the derivative of each token's loss by its log-probability."""
    with torch.enable_grad():
        leaf_C = logprob_C.detach().requires_grad_()
        loss = token_loss(leaf_C, at).sum()
        (slope_C,) = torch.autograd.grad(loss, leaf_C)
    return loss.detach(), slope_C


def _product(hidden_CE: Tensor, weight_VE: Tensor, out_CV: Tensor | None) -> Tensor:
    if hidden_CE.is_cuda and hidden_CE.dtype != torch.float32:
        return torch.mm(hidden_CE, weight_VE.T, out_dtype=torch.float32)
    if out_CV is None or out_CV.dtype == hidden_CE.dtype:
        return torch.mm(hidden_CE, weight_VE.T, out=out_CV)
    return out_CV.copy_(hidden_CE @ weight_VE.T)


def _add_product(total: Tensor | None, left: Tensor, right: Tensor, wide: torch.dtype) -> Tensor:
    if total is None:
        return (left @ right).to(wide)
    return total.addmm_(left, right) if left.dtype == wide else total.add_(left @ right)


class LanguageModelLoss(nn.Module):
    """A causal language model as training uses it: packed rows in, the loss of their target tokens out."""

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        self.lm = lm
        self._body = body_of(lm)
        self.packs = True
        """False: a row is one sequence, under the model's own attention (see `packing_check`)."""

    def forward(
        self,
        row: PackedRow,
        token_loss: TokenLoss = negative_logprob,
        temperature: float = 1.0,
        with_entropy: bool = False,
    ) -> TargetLoss:
        boundaries = {"sequences": row.sequences} if self.packs else {}
        hidden_1TE = self.lm.get_submodule(self._body)(
            input_ids=row.ids_1T, position_ids=row.positions_1T, use_cache=False, **boundaries
        ).last_hidden_state
        hidden_NE = hidden_1TE[0].index_select(0, row.predicting_N)
        head = head_of(self.lm)
        return target_loss(hidden_NE, head, row.target_N, token_loss, temperature, with_entropy)

    def logits(self, ids_1T: Tensor) -> Tensor:
        """By the model's own forward pass."""
        logits_1TV: Tensor = self.lm(input_ids=ids_1T, use_cache=False).logits
        return logits_1TV

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Around the forward and backward passes of rows."""
        with packed_attention(self.lm) if self.packs else nullcontext(), recomputed_products(self.lm):
            yield


def head_of(lm: PreTrainedModel) -> Head:
    """The settings by which architectures scale or cap their logits."""
    linear, config = lm.get_output_embeddings(), lm.config.get_text_config()
    scale = getattr(config, "logit_scale", 1.0)  # Cohere
    scale *= getattr(config, "lm_head_multiplier", 1.0)  # Falcon-H1
    scale /= getattr(config, "logits_scaling", 1.0)  # Granite
    softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2
    return Head(linear.weight, getattr(linear, "bias", None), scale, softcap)
