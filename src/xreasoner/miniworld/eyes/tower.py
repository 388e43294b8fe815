"""The tower learns to tell symbols apart, before it meets a language model.

Towers of real models learn from captions, which name the parts of what they show. Here a classifier names
each symbol, and two others its parts: a bar's name and its height, a number's first and last figures. The
parts are learned first, because more symbols share them.
"""

import random

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.eyes.sheets import IGNORED, Desk, Sheet, see
from xreasoner.miniworld.eyes.training import fresh_sheets, train
from xreasoner.miniworld.eyes.worlds import LEVELS
from xreasoner.miniworld.lessons import Lesson, jumble
from xreasoner.miniworld.scene import Cell, alphabet
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.storage.journal import Say

WORLD = LEVELS[2]
"""One symbol in each visual token, in all looks."""
SHOWN = 8
"""Symbols in a picture."""


def parts_of(cell: Cell) -> tuple[str, str]:
    """Values of different looks are different parts."""
    first, last = cell.parts if len(cell.parts) == 2 else (cell.word[:-1], cell.word[-1])
    return first, f"{cell.look} {last}"


def part_tables(desk: Desk) -> list[Tensor]:
    """By word id: the number of the symbol's first part, and of its last."""
    cells = alphabet()
    tables: list[Tensor] = []
    for place in (0, 1):
        names = sorted({parts_of(cell)[place] for cell in cells})
        table = torch.full((len(desk.tokenizer),), IGNORED)
        for cell in cells:
            table[desk.ids(cell.word)] = names.index(parts_of(cell)[place])
        tables.append(table)
    return tables


def learn_symbols(
    model: Qwen2_5_VLForConditionalGeneration, seed: int, steps: int, rows: int, lr: float, say: Say
) -> None:
    """The classifiers are thrown away, and the last layer of the projector is new afterwards."""
    desk, rng = Desk(build_tokenizer(), WORLD), random.Random(f"tower {seed}")
    torch.manual_seed(seed)
    last = model.model.visual.merger.mlp[-1]
    tables = part_tables(desk)
    classifiers = [torch.nn.Linear(last.out_features, len(desk.tokenizer))]
    classifiers += [torch.nn.Linear(last.out_features, int(table.max()) + 1) for table in tables]

    def loss_of(sheet: Sheet) -> Tensor:
        seen_SE = see(model, sheet)
        meant = [sheet.meant_S, *(table[sheet.meant_S] for table in tables)]
        losses = [
            F.cross_entropy(classifier(seen_SE), wanted_S)
            for classifier, wanted_S in zip(classifiers, meant, strict=True)
        ]
        return torch.stack(losses).sum() * sheet.lessons

    def teacher(rng: random.Random, progress: float) -> Lesson:
        return Lesson("", (jumble(rng, SHOWN),), "")

    trained = [*model.model.visual.parameters(), *(p for one in classifiers for p in one.parameters())]
    sheets = fresh_sheets(teacher, desk, rng, rows)
    train(model, trained, sheets, loss_of, steps=steps, lr=lr, say=say)
    last.reset_parameters()
