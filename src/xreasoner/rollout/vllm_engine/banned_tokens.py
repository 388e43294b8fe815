"""Bans vision tokens and other non-text tokens inside vLLM, for all requests at once."""

from pathlib import Path

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

from xreasoner.rollout.special_tokens import read_token_decoder


class BannedTokens(LogitsProcessor):
    """Cheaper than `allowed_token_ids` in every request, which would list the whole vocabulary."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        banned = read_token_decoder(Path(vllm_config.model_config.model)).special_tokens.banned
        self._banned_X = torch.tensor(sorted(banned), dtype=torch.int64, device=device)

    def apply(self, logits: Tensor) -> Tensor:
        return logits.index_fill_(-1, self._banned_X, float("-inf"))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """The same tokens are banned in every request."""
