"""Visual tokens brought near their words without gradient steps: the projector's last layer is changed.

Suffixes: N visual tokens, F what the last layer reads, E hidden size, S visual tokens of a sheet.
"""

import random
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.eyes.sheets import Desk, Sheet, see, with_features
from xreasoner.miniworld.eyes.worlds import VisualWorld
from xreasoner.miniworld.lessons import Lesson, jumble
from xreasoner.miniworld.tokenizer import build_tokenizer

SHOWN = 8
"""Symbols in a picture."""
PICTURES_AT_ONCE = 100
RIDGE = 1e-3
"""Of the mean square of what is read."""


def least_squares(read_NF: Tensor, wanted_NE: Tensor) -> tuple[Tensor, Tensor]:
    """The weight (E, F) and bias of the linear layer with the smallest squared error."""
    read_NF, wanted_NE = read_NF.double(), wanted_NE.double()
    mean_F, mean_E = read_NF.mean(0), wanted_NE.mean(0)
    centred_NF = read_NF - mean_F
    squares_FF = centred_NF.T @ centred_NF
    squares_FF += RIDGE * squares_FF.diagonal().mean() * torch.eye(len(squares_FF), dtype=torch.float64)
    weight_EF = torch.linalg.solve(squares_FF, centred_NF.T @ (wanted_NE - mean_E)).T
    return weight_EF.float(), (mean_E - weight_EF @ mean_F).float()


def symbols(desk: Desk, rng: random.Random, pictures: int) -> Sheet:
    lessons = [Lesson("", (jumble(rng, SHOWN),), "x") for _ in range(pictures)]
    (sheet,) = desk.sheets(lessons, rng, parts=1)
    return sheet


@torch.no_grad()
def scale_to_words(
    model: Qwen2_5_VLForConditionalGeneration, world: VisualWorld, seed: int, length: float
) -> None:
    """Visual tokens become so many times as long as the embeddings of their words, on average."""
    desk, rng = Desk(build_tokenizer(), world), random.Random(f"scale {seed}")
    last: Any = model.model.visual.merger.mlp[-1]
    embeddings: Any = model.get_input_embeddings().weight
    sheet = symbols(desk, rng, PICTURES_AT_ONCE)
    lengths_S = see(model, sheet).norm(dim=-1) / embeddings[sheet.meant_S].norm(dim=-1)
    for parameter in last.parameters():
        parameter.mul_(length / lengths_S.mean())


@torch.no_grad()
def fit_to_words(
    model: Qwen2_5_VLForConditionalGeneration,
    world: VisualWorld,
    seed: int,
    pictures: int,
    share: float = 1.0,
) -> None:
    """By what the projector says before its last layer, over all symbols of so many pictures.

    With a share below 1, visual tokens go only that part of the way.
    """
    desk, rng = Desk(build_tokenizer(), world), random.Random(f"fit {seed}")
    last: Any = model.model.visual.merger.mlp[-1]
    embeddings: Any = model.get_input_embeddings().weight
    read: list[Tensor] = []
    meant: list[Tensor] = []
    watch = last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    for _ in range(0, pictures, PICTURES_AT_ONCE):
        sheet = symbols(desk, rng, PICTURES_AT_ONCE)
        see(model, with_features(model, sheet))  # in the order of the words
        meant.append(sheet.meant_S)
    watch.remove()
    weight, bias = least_squares(torch.cat(read), embeddings[torch.cat(meant)])
    last.weight.lerp_(weight, share)
    last.bias.lerp_(bias, share)
