"""Align the vision tower: the visual token of each cell is trained towards the embedding of its word."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.model import build_image_processor
from xreasoner.miniworld.scene import Cell
from xreasoner.miniworld.tied.draw import draw_cell

OFFSETS = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]


def cell_pixels(cells: list[Cell]) -> Tensor:
    """Patches of every cell at every offset: (cells x offsets x 4 patches, values)."""
    pictures = [draw_cell(cell, dx, dy) for cell in cells for dx, dy in OFFSETS]
    return build_image_processor()(images=pictures, return_tensors="pt")["pixel_values"]


def look(model: Qwen2_5_VLForConditionalGeneration, pixels_NP: Tensor) -> Tensor:
    """One visual token per cell. Each cell is a window of its own, so all can be encoded together."""
    count = len(pixels_NP) // 4
    grid_thw = torch.tensor([[1, 2, 2]] * count, device=pixels_NP.device)
    features: Any = model.get_image_features(pixels_NP, grid_thw)
    return torch.cat(features.pooler_output)


def meanings(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, cells: list[Cell]
) -> Tensor:
    """The target of each visual token: the embedding of the word of its cell."""
    embeddings = model.lm_head.weight.detach()  # tied embeddings
    ids = tokenizer.convert_tokens_to_ids([cell.word for cell in cells])
    return embeddings[ids].repeat_interleave(len(OFFSETS), 0)


def learn_to_see(
    model: Qwen2_5_VLForConditionalGeneration,
    pixels: Tensor,
    wanted: Tensor,
    steps: int,
    lr: float,
) -> float:
    """Train the vision tower; returns the fraction of cells that end nearest to their own target."""
    patches = pixels.view(len(wanted), 4, -1)
    scale = wanted.std()
    optimizer = torch.optim.AdamW(model.model.visual.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randperm(len(wanted), generator=generator)[:256]
        seen = look(model, patches[chosen].flatten(0, 1))
        loss = ((seen - wanted[chosen]) / scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        seen = look(model, pixels)
        nearest = torch.cdist(seen, wanted[:: len(OFFSETS)]).argmin(1)
        own = torch.arange(len(wanted)) // len(OFFSETS)
        return (nearest == own).float().mean().item()
