"""Prefill: each prompt is computed once for all its samples, in batches of similar length.

B: prompts, T: tokens, R: rows that are filled, 3: the axes of a VLM's rope positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from xreasoner.chat.template import Encoded
from xreasoner.rollout.torch_engine.cache import Prefill, RowCache

MAX_TOKENS = 16384
MAX_PADDING = 1.25
"""A batch ends where padding to its longest prompt would cost the next one more than this factor."""


@dataclass(frozen=True)
class PrefillEntry:
    """An encoded prompt and the rows of its samples."""

    encoded: Encoded
    rows: range


def length_batches(entries: Sequence[PrefillEntry]) -> Iterator[list[PrefillEntry]]:
    """Takes prompts longest first; starts a new batch where padding or the batch would grow too large."""
    batch: list[PrefillEntry] = []
    for prompt in entries:
        if prompt.encoded.other_inputs:  # each family pads its images in another way: such a prompt is alone
            if batch:
                yield batch
                batch = []
            yield [prompt]
            continue
        if batch:
            width = len(batch[0].encoded.ids)
            too_long = (len(batch) + 1) * width > MAX_TOKENS
            if too_long or width > MAX_PADDING * len(prompt.encoded.ids) + 8:
                yield batch
                batch = []
        batch.append(prompt)
    if batch:
        yield batch


def prefill(model: PreTrainedModel, cache: RowCache, batch: Sequence[PrefillEntry]) -> list[int]:
    """Fill the cache with all tokens of each prompt but the last, which the first decoding step feeds.

    Returns, for each prompt, the difference between a token's rope position and its cache column.
    """
    width = max(len(prompt.encoded.ids) for prompt in batch) - 1
    if width == 0:
        return [0] * len(batch)
    device = model.device
    # Padding is at the end, where causal attention never sees it, so any valid id will do.
    ids_BT = torch.tensor([_padded(prompt.encoded.ids[:-1], width) for prompt in batch], device=device)
    position, deltas = _positions(model, batch, width)
    counts = [len(prompt.rows) for prompt in batch]
    cache.begin(
        Prefill(
            row_R=torch.tensor([row for prompt in batch for row in prompt.rows], device=device),
            prompt_R=torch.arange(len(batch)).repeat_interleave(torch.tensor(counts)).to(device),
        )
    )
    model(
        input_ids=ids_BT,
        position_ids=position.to(device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **_image_inputs(model, batch, width),
    )
    return deltas


def _padded(ids: Sequence[int], width: int) -> list[int]:
    first = ids[0] if ids else 0
    return [*ids, *[first] * (width - len(ids))]


def _positions(model: PreTrainedModel, batch: Sequence[PrefillEntry], width: int) -> tuple[Tensor, list[int]]:
    """Plain positions, or positions on three axes if the batch has images."""
    plain_T = torch.arange(width)
    if all(prompt.encoded.image_grid_thw is None for prompt in batch):
        return plain_T.expand(len(batch), width), [0] * len(batch)
    position_3BT = plain_T.repeat(3, len(batch), 1)
    deltas = [0] * len(batch)
    for b, prompt in enumerate(batch):
        if prompt.encoded.image_grid_thw is not None:
            position_3T, deltas[b] = _rope_positions(model, prompt.encoded)
            position_3BT[:, b, : position_3T.shape[1] - 1] = position_3T[:, :-1]
    return position_3BT, deltas


def _rope_positions(model: PreTrainedModel, encoded: Encoded) -> tuple[Tensor, int]:
    ids_1T = torch.tensor([encoded.ids])
    position_31T, delta_11 = model.model.get_rope_index(
        ids_1T,
        mm_token_type_ids=(ids_1T == model.config.image_token_id).int(),
        image_grid_thw=encoded.image_grid_thw,
    )
    return position_31T[:, 0], int(delta_11)


def _image_inputs(model: PreTrainedModel, batch: Sequence[PrefillEntry], width: int) -> dict[str, Tensor]:
    pixels = [p.encoded.pixel_values for p in batch if p.encoded.pixel_values is not None]
    grids = [p.encoded.image_grid_thw for p in batch if p.encoded.image_grid_thw is not None]
    if not pixels:
        return {}
    inputs = {"pixel_values": torch.cat(pixels).to(model.device, model.dtype)}
    if grids:
        inputs["image_grid_thw"] = torch.cat(grids).to(model.device)
    for name, tensor in batch[0].encoded.other_inputs.items():
        inputs[name] = (tensor[:, :width] if name == "token_type_ids" else tensor).to(model.device)
    return inputs
