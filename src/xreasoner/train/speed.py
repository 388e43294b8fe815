"""MFU: which part of the GPUs' peak speed training uses. What is computed twice does not count."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from xreasoner.models.gpu_speed import PEAKS, gpu_in
from xreasoner.parallel import World

COUNTS_OF_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""What configurations call the number of experts of a layer."""


@dataclass(frozen=True)
class Utilisation:
    matrices: int
    """Entries of the matrices that every token is multiplied with."""
    attention: int
    """Layers times the width of their queries."""
    passes: int
    """As long as forward passes: a backward pass takes two, or one where the weights are frozen (LoRA)."""
    peak: float | None
    """Operations per second of all devices; None where they are unknown."""

    def of(self, lengths: Sequence[int], seconds: float) -> dict[str, float]:
        """Of sequences of these lengths; nothing on a CPU."""
        if self.peak is None:
            return {}
        return {"mfu": self.passes * self.forward(lengths) / seconds / self.peak}

    def forward(self, lengths: Sequence[int]) -> float:
        """Two operations per matrix entry and token; a token attends to half its sequence on average."""
        return 2 * self.matrices * sum(lengths) + 2 * self.attention * sum(n * n for n in lengths)


def utilisation(lm: PreTrainedModel, is_frozen: bool, world: World) -> Utilisation:
    """Of the model as its checkpoint has it: later it may be sharded, or packed to four bits."""
    config = lm.config
    heads = getattr(config, "num_attention_heads", 0)  # a state-space model has none
    head_size = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    looked_up = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    return Utilisation(
        matrix_entries(lm) - looked_up,
        config.num_hidden_layers * heads * head_size,
        2 if is_frozen else 3,
        peak_of(world),
    )


def matrix_entries(lm: PreTrainedModel) -> int:
    """Each token uses as many experts as the router picks."""
    routed = sum(p.numel() for name, p in lm.named_parameters() if ".experts." in name)
    counts = (getattr(lm.config, key, None) for key in COUNTS_OF_EXPERTS)
    experts = next((count for count in counts if count), None)
    idle = 1 - lm.config.num_experts_per_tok / experts if experts else 0
    return lm.num_parameters() - round(routed * idle)


def peak_of(world: World) -> float | None:
    if world.device.type != "cuda":
        return None
    name = gpu_in(torch.cuda.get_device_name(world.device))
    return world.size * PEAKS[name] if name else None
