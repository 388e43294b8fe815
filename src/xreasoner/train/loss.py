"""Packed rows in, log-probabilities of their target tokens out; the full logits are never built."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models.attention import Segments


@dataclass(frozen=True)
class Row:
    """Sequences side by side, positions restarting at each. Token t+1 is predicted at position t."""

    ids_1T: Tensor
    positions_1T: Tensor
    segments: Segments
    predicting_N: Tensor
    """Where, in the row, a target token is predicted."""
    target_N: Tensor

    @property
    def targets(self) -> int:
        return self.target_N.numel()


def pack(examples: Sequence[Example], device: torch.device) -> Row:
    lengths = tuple(len(example.ids) for example in examples)
    ids_T = torch.tensor([token for example in examples for token in example.ids])
    is_target_T = torch.tensor([flag for example in examples for flag in example.is_target])
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    # A sequence's first token has nothing before it to be predicted from.
    target_at_N = torch.nonzero(is_target_T & (positions_T > 0)).squeeze(1)
    return Row(
        ids_1T=ids_T[None].to(device),
        positions_1T=positions_T[None].to(device),
        segments=Segments.of(lengths, device),
        predicting_N=(target_at_N - 1).to(device),
        target_N=ids_T[target_at_N].to(device),
    )


class NegativeLogLikelihood(nn.Module):
    """A causal language model as training sees it: a packed row in, -log p of its targets out."""

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        if getattr(lm.config, "final_logit_softcapping", None) is not None:
            raise ValueError(f"{lm.config.model_type} caps its logits, which the chunked loss does not do")
        self.lm = lm
        self.chunks = torch.nn.LinearCrossEntropyOptions()

    def forward(self, row: Row, reduction: str = "none") -> Tensor:
        hidden_1TE = self.lm.base_model(
            input_ids=row.ids_1T, position_ids=row.positions_1T, use_cache=False, segments=row.segments
        ).last_hidden_state
        hidden_NE = hidden_1TE[0].index_select(0, row.predicting_N)
        return F.linear_cross_entropy(
            hidden_NE,
            self.lm.get_output_embeddings().weight.to(hidden_NE.dtype),
            row.target_N,
            reduction=reduction,
            options=self.chunks,
        )
