"""What a text policy must never say, forbidden inside vLLM for all requests at once."""

from pathlib import Path

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

from xreasoner.rollout.token_decoder import read_speech


class BannedTokens(LogitsProcessor):
    """A list of allowed tokens in every request would say the same, at the price of the whole vocabulary."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        banned = read_speech(Path(vllm_config.model_config.model)).vocabulary.banned
        self._banned_X = torch.tensor(sorted(banned), dtype=torch.int64, device=device)

    def apply(self, logits: Tensor) -> Tensor:
        return logits.index_fill_(-1, self._banned_X, float("-inf"))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """The same tokens for whoever is in the batch."""
