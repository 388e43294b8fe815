"""Packed rows in, log-probabilities of their target tokens out; the full logits are never built."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models.packed_attention import PackedSequences


@dataclass(frozen=True)
class PackedRow:
    """Sequences side by side, positions restarting at each. Token t+1 is predicted at position t."""

    ids_1T: Tensor
    positions_1T: Tensor
    sequences: PackedSequences
    predicting_N: Tensor
    """Where, in the row, a target token is predicted."""
    target_N: Tensor

    @property
    def targets(self) -> int:
        return self.target_N.numel()


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt and some of the replies sampled from it; in a row the prompt appears once."""

    prompt: tuple[int, ...]
    replies: tuple[Example, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + sum(len(reply.ids) for reply in self.replies)

    @property
    def targets(self) -> int:
        return sum(sum(reply.is_target) for reply in self.replies)


def pack(examples: Sequence[Example], device: torch.device) -> PackedRow:
    lengths = tuple(len(example.ids) for example in examples)
    ids_T = torch.tensor([token for example in examples for token in example.ids])
    is_target_T = torch.tensor([flag for example in examples for flag in example.is_target])
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    # A sequence's first token has nothing before it to be predicted from.
    target_at_N = torch.nonzero(is_target_T & (positions_T > 0)).squeeze(1)
    return PackedRow(
        ids_1T=ids_T[None].to(device),
        positions_1T=positions_T[None].to(device),
        sequences=PackedSequences.of(lengths, device),
        predicting_N=(target_at_N - 1).to(device),
        target_N=ids_T[target_at_N].to(device),
    )


def pack_shared(prompts: Sequence[SharedPrompt], device: torch.device) -> PackedRow:
    """Targets come in the order of the prompts, their replies, and the tokens of these."""
    ids: list[int] = []
    lengths: list[int] = []
    parents: list[int | None] = []
    positions: list[int] = []
    predicting: list[int] = []
    targets: list[int] = []
    for shared in prompts:
        prompt_sequence, prompt_end = len(lengths), len(ids) + len(shared.prompt)
        ids += shared.prompt
        lengths.append(len(shared.prompt))
        parents.append(None)
        positions += range(len(shared.prompt))
        for reply in shared.replies:
            # The prompt's last token predicts the first of every reply.
            before = [prompt_end - 1, *range(len(ids), len(ids) + len(reply.ids) - 1)]
            predicting += itertools.compress(before, reply.is_target)
            targets += itertools.compress(reply.ids, reply.is_target)
            ids += reply.ids
            lengths.append(len(reply.ids))
            parents.append(prompt_sequence)
            positions += range(len(shared.prompt), len(shared.prompt) + len(reply.ids))
    return PackedRow(
        ids_1T=torch.tensor([ids], device=device),
        positions_1T=torch.tensor([positions], device=device),
        sequences=PackedSequences.of(lengths, device, parents),
        predicting_N=torch.tensor(predicting, device=device),
        target_N=torch.tensor(targets, device=device),
    )


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
