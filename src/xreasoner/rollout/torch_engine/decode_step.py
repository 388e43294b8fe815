"""One decoding step: a token for every row, from tensors alone. Nothing is read back by the host.

Suffixes: A rows of the step, V vocabulary, E tokens of both exits, X banned tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from xreasoner.rollout.torch_engine.attention import attention_configs, use_rollout_attention
from xreasoner.rollout.torch_engine.cache import Decode, RowCache
from xreasoner.rollout.torch_engine.decode_attention import DecodeRows, RowBlock
from xreasoner.rollout.torch_engine.sampler import draw, uniforms
from xreasoner.rollout.torch_engine.slot_tensors import SlotTensors


class DecodeStep:
    """Its tensors keep their addresses, but for those of the cache when it grows."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: RowCache,
        tensors: SlotTensors,
        exit_ids: Sequence[int],
        banned: Sequence[int],
    ) -> None:
        self.cache, self.tensors = cache, tensors
        self._model, self._attention_configs = model, attention_configs(model)
        device = tensors.index.device
        self._exit_ids_E = torch.tensor(exit_ids, dtype=torch.int64, device=device)
        self._banned_X = torch.tensor(banned, dtype=torch.int64, device=device)

    def __call__(self, rows: int, blocks: Sequence[RowBlock], temperature: float | Tensor) -> None:
        """Of the first rows; `blocks` are as long as the longest of theirs, or longer."""
        tensors = self.tensors
        logits_AV = self._forward(rows, blocks).float()
        logits_AV.index_fill_(-1, self._banned_X, float("-inf"))
        uniform_A = uniforms(tensors.key[:rows], tensors.step[:rows])
        tensors.append(rows, draw(logits_AV, temperature, uniform_A), self._exit_ids_E)

    def _forward(self, rows: int, blocks: Sequence[RowBlock]) -> Tensor:
        column_A = self.tensors.length[:rows]
        decode_rows = DecodeRows(column_A, blocks)
        self.cache.begin(Decode(column_A, self.tensors.index[:rows], decode_rows.span))
        with use_rollout_attention(self._attention_configs):
            output = self._model(
                input_ids=self.tensors.next_token[:rows, None],
                position_ids=(column_A + self.tensors.rope_delta[:rows])[:, None],
                attention_mask=decode_rows.mask(),  # keeps transformers from building its own
                past_key_values=self.cache,
                use_cache=True,
                decode_rows=decode_rows,
            )
        logits_AV: Tensor = output.logits[:, -1]
        return logits_AV
