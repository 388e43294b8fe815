"""From a packed row to the log-probabilities of its target tokens. The full logits are never built.

Suffixes: 1 the batch of one row, T tokens of the row, N its target tokens, E hidden size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from xreasoner.train.rows import PackedRow


class NegativeLogLikelihood(nn.Module):
    """A causal language model as training sees it: a packed row in, -log p of its targets out."""

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        if getattr(lm.config, "final_logit_softcapping", None) is not None:
            raise ValueError(f"{lm.config.model_type} caps its logits, which the chunked loss does not do")
        self.lm = lm
        self.chunks = torch.nn.LinearCrossEntropyOptions()

    def forward(self, row: PackedRow, reduction: str = "none", temperature: float = 1.0) -> Tensor:
        hidden_1TE = self.lm.base_model(
            input_ids=row.ids_1T, position_ids=row.positions_1T, use_cache=False, sequences=row.sequences
        ).last_hidden_state
        hidden_NE = hidden_1TE[0].index_select(0, row.predicting_N)
        return F.linear_cross_entropy(
            hidden_NE / temperature if temperature != 1 else hidden_NE,
            self.lm.get_output_embeddings().weight.to(hidden_NE.dtype),
            row.target_N,
            reduction=reduction,
            options=self.chunks,
        )
