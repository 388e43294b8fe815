"""The tower learns to tell symbols apart, without a language model.

Towers of real models learn from captions, which name the parts of what they show, with a sigmoid for each
caption. Here each symbol and each part of one (a bar's name and its height, a number's first and last
figures) has a unit of the projector's hidden layer that must be on where it is shown, and off elsewhere. No
unit means a word to the language model yet: that is for the projector's last layer to learn. Three
classifiers behind that layer, which are thrown away, make the start faster.

Suffixes: S visual tokens, F what the tower says of one, U units of the hidden layer, E hidden size.
"""

import random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xreasoner.miniworld.base.encode import IGNORED, LessonBatch, LessonEncoder, tower_features
from xreasoner.miniworld.base.lessons import Lesson, jumble
from xreasoner.miniworld.base.settings import BaseSettings
from xreasoner.miniworld.base.training import fresh_batches, train
from xreasoner.miniworld.model import new_model
from xreasoner.miniworld.pictures.worlds import LEVELS, VisualWorld
from xreasoner.miniworld.scene import Cell, alphabet
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.storage.journal import Say

ONE_TOKEN = LEVELS[3]
"""One symbol in each visual token, in all looks."""
SHOWN = 8
"""Symbols in a picture."""
STARTS_OFF = -4.0
"""Bias of a unit at the start: few are on."""


def names_of(cell: Cell) -> tuple[str, str, str]:
    """A symbol, its first part and its last. Values of different looks are different parts."""
    first, last = cell.parts if len(cell.parts) == 2 else (cell.word[:-1], cell.word[-1])
    return cell.word, first, f"{cell.look} {last}"


def name_tables(encoder: LessonEncoder) -> list[Tensor]:
    """By word id: the number of the symbol, of its first part, and of its last."""
    cells = alphabet()
    tables: list[Tensor] = []
    for place in range(3):
        names = sorted({names_of(cell)[place] for cell in cells})
        table = torch.full((len(encoder.tokenizer),), IGNORED)
        for cell in cells:
            table[encoder.ids(cell.word)] = names.index(names_of(cell)[place])
        tables.append(table)
    return tables


def symbol_loss(
    hidden_SU: Tensor, named_S: list[Tensor], counts: list[int], classifiers: list[Tensor]
) -> Tensor:
    """Of the units before their activation, and of the classifiers; the mean over visual tokens."""
    wanted_SU = torch.zeros(len(hidden_SU), sum(counts))
    for names, start in zip(named_S, (0, counts[0], counts[0] + counts[1]), strict=True):
        wanted_SU.scatter_(1, (names + start)[:, None], 1.0)
    units = F.binary_cross_entropy_with_logits(hidden_SU[:, : sum(counts)], wanted_SU, reduction="none")
    told = [F.cross_entropy(said, names) for said, names in zip(classifiers, named_S, strict=True)]
    return units.sum(1).mean() + torch.stack(told).sum()


class PatchesAsRows(torch.nn.Module):
    """The convolution over patches as one product, since they do not overlap: three times as fast."""

    def __init__(self, convolution: torch.nn.Conv3d) -> None:
        super().__init__()
        self.weight = convolution.weight

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches.flatten(1), self.weight.flatten(1))


def world_of_tower(world: VisualWorld) -> VisualWorld:
    """Where the tower of this world learns: worlds share one, unless a symbol has several visual tokens."""
    return world if world.tokens > 1 else ONE_TOKEN


def learn_symbols(settings: BaseSettings, say: Say, world: VisualWorld = ONE_TOKEN) -> dict[str, Tensor]:
    """The weights of a tower with its projector."""
    model = new_model(settings.size, settings.seed)
    encoder, rng = LessonEncoder(build_tokenizer(), world), random.Random(f"tower {settings.seed}")
    tables = name_tables(encoder)
    counts = [int(table.max()) + 1 for table in tables]
    embed: Any = model.model.visual.patch_embed
    convolution, embed.proj = embed.proj, PatchesAsRows(embed.proj)
    projector: Any = model.model.visual.merger
    first, activation, last = projector.mlp
    with torch.no_grad():
        first.bias[: sum(counts)] = STARTS_OFF
    classifiers = [torch.nn.Linear(settings.size.hidden, count) for count in counts]

    def loss_of(batch: LessonBatch) -> Tensor:
        features_SF = tower_features(model, batch)
        normed_SF = projector.ln_q(features_SF.view(-1, settings.size.vision_hidden)).view(features_SF.shape)
        hidden_SU = first(normed_SF)
        seen_SE = last(activation(hidden_SU))
        named_S = [table[batch.meant_S] for table in tables]
        said = [classifier(seen_SE) for classifier in classifiers]
        return symbol_loss(hidden_SU, named_S, counts, said) * batch.lessons

    def teacher(rng: random.Random, progress: float) -> Lesson:
        return Lesson("", (jumble(rng, SHOWN),), "")

    trained = [*model.model.visual.parameters(), *(p for one in classifiers for p in one.parameters())]
    batches = fresh_batches(teacher, encoder, rng, settings.rows)
    train(model, trained, batches, loss_of, steps=settings.tower_steps, lr=settings.tower_lr, say=say)
    embed.proj = convolution
    return model.model.visual.state_dict()
