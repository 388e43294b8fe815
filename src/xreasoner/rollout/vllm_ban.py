"""What a text policy must never say, forbidden inside vLLM for all requests at once."""

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

SETTING = "xreasoner_banned"
"""Under this name the engine's `additional_config` holds the token ids."""


class BannedTokens(LogitsProcessor):
    """A list of allowed tokens in every request would say the same, at the price of the whole vocabulary."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        banned = vllm_config.additional_config[SETTING]
        self._banned_X = torch.tensor(banned, dtype=torch.int64, device=device)

    def apply(self, logits: Tensor) -> Tensor:
        return logits.index_fill_(-1, self._banned_X, float("-inf"))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """The same tokens for whoever is in the batch."""
