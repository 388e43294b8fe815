"""Lessons with their pictures as tensors, and the loss of the real model on them.

Suffixes: B lessons, T tokens, P patches, V values of a patch, H hidden size of the tower, I pictures,
S visual tokens, F their features, E hidden size, N targets.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.draw import CELL
from xreasoner.miniworld.eyes.drawing import Pixels, draw_picture
from xreasoner.miniworld.eyes.worlds import VisualWorld
from xreasoner.miniworld.lessons import Lesson

IGNORED = -100
PATCH = CELL // 2
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
SPREAD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
"""Of the colours, as in Qwen's image processor."""


def patches_of(pixels: Pixels) -> NDArray[np.float32]:
    """What Qwen's image processor makes of a picture of whole visual tokens: (P, V)."""
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / SPREAD
    # The four patches of a token follow each other; a patch is colour, time (two equal), height, width.
    split = scaled.reshape(rows, 2, PATCH, columns, 2, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    patches = split.reshape(rows * columns * 4, 3, 1, PATCH, PATCH)
    return np.repeat(patches, 2, axis=2).reshape(len(patches), -1).astype(np.float32)


@dataclass(frozen=True)
class Sheet:
    ids_BT: Tensor
    pixels_PV: Tensor | None
    grids_I3: Tensor | None
    meant_S: Tensor
    """The word of each visual token, IGNORED where none is defined."""
    targets_BT: Tensor
    """The next token where it is a target, else IGNORED."""
    weights_BT: Tensor
    """Each lesson has the same weight."""
    features_SF: Tensor | None = None
    """What the tower says about each visual token, if that is kept and only the projector is trained."""

    @property
    def lessons(self) -> int:
        return len(self.ids_BT)


@dataclass
class _Row:
    ids: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)
    meant: list[int] = field(default_factory=list)

    def write(self, ids: list[int], learned: bool = False) -> None:
        self.ids += ids
        self.learned += [learned] * len(ids)


class Desk:
    """Writes lessons of one world on sheets."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, world: VisualWorld) -> None:
        self.tokenizer, self.world = tokenizer, world
        self.known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.known[text]

    def words(self, text: str) -> list[int]:
        return [i for word in text.split() for i in self.ids(word)]

    def row(self, lesson: Lesson, rng: random.Random) -> _Row:
        row = _Row()
        if lesson.system:
            row.write(self.words(f"<|im_start|> system {lesson.system} <|im_end|>"))
        row.write(self.words("<|im_start|> user"))
        for part in lesson.prompt:
            if isinstance(part, str):
                row.write(self.words(part))
                continue
            pixels = draw_picture(part, self.world, rng, "train")
            tokens = pixels.shape[0] * pixels.shape[1] // CELL**2
            row.write(
                [
                    *self.ids("<|vision_start|>"),
                    *self.ids("<|image_pad|>") * tokens,
                    *self.ids("<|vision_end|>"),
                ]
            )
            row.pictures.append(pixels)
            own = self.world.tokens
            words = self.words(" ".join(part.words()))
            row.meant += [word for word in words for _ in range(own)] if own else [IGNORED] * tokens
        row.write(self.words("<|im_end|> <|im_start|> assistant"))
        start = len(row.ids)
        row.write([*self.words(lesson.reply), *self.ids("<|im_end|>")], learned=True)
        if lesson.results_only:
            equals = self.ids("=")[0]
            row.learned[start:] = [row.ids[i - 1] == equals for i in range(start, len(row.ids))]
        return row

    def sheets(self, lessons: list[Lesson], rng: random.Random, parts: int) -> list[Sheet]:
        """Of lessons of similar length, to reduce padding."""
        rows = sorted((self.row(lesson, rng) for lesson in lessons), key=lambda row: len(row.ids))
        size = -(-len(rows) // parts)
        return [self._sheet(rows[i : i + size]) for i in range(0, len(rows), size)]

    def _sheet(self, rows: list[_Row]) -> Sheet:
        length = max(len(row.ids) for row in rows)
        pad = self.tokenizer.pad_token_id
        targets = [
            [
                row.ids[i + 1] if i + 1 < len(row.ids) and row.learned[i + 1] else IGNORED
                for i in range(length)
            ]
            for row in rows
        ]
        pictures = [picture for row in rows for picture in row.pictures]
        grids = [[1, picture.shape[0] // PATCH, picture.shape[1] // PATCH] for picture in pictures]
        return Sheet(
            torch.tensor([row.ids + [pad] * (length - len(row.ids)) for row in rows]),
            torch.from_numpy(np.concatenate([patches_of(p) for p in pictures])) if pictures else None,
            torch.tensor(grids) if pictures else None,
            torch.tensor([word for row in rows for word in row.meant]),
            torch.tensor(targets),
            torch.tensor([[1 / sum(row.learned)] * length for row in rows]),
        )


class SideBySide(torch.nn.Module):
    """In the projector's place: the patches of each visual token beside each other, (S, F)."""

    def forward(self, patches_PH: Tensor) -> Tensor:
        return patches_PH.reshape(-1, 4 * patches_PH.shape[-1])


def see(model: Qwen2_5_VLForConditionalGeneration, sheet: Sheet) -> Tensor:
    """The visual tokens of all pictures in order: (S, E)."""
    if sheet.features_SF is not None:
        projector: Any = model.model.visual.merger
        return projector(sheet.features_SF.reshape(-1, sheet.features_SF.shape[-1] // 4))
    features: Any = model.get_image_features(sheet.pixels_PV, sheet.grids_I3)
    return torch.cat(features.pooler_output)


@torch.no_grad()
def with_features(model: Qwen2_5_VLForConditionalGeneration, sheet: Sheet) -> Sheet:
    """The tower's features kept instead of the pixels."""
    visual: Any = model.model.visual
    projector, visual.merger = visual.merger, SideBySide()
    features_SF = see(model, sheet)
    visual.merger = projector
    return replace(sheet, pixels_PV=None, features_SF=features_SF)


def pull_of(seen_SE: Tensor, meant_S: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared distance of visual tokens to their words, in units of the variance of embeddings."""
    return (seen_SE - embeddings[meant_S]).square().mean() / embeddings.var()


def length_off(seen_SE: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared difference of the lengths of visual tokens to the mean length of words, in units of it."""
    return (seen_SE.norm(dim=-1) / embeddings.norm(dim=-1).mean() - 1).square().mean()


def sheet_loss(
    model: Qwen2_5_VLForConditionalGeneration, sheet: Sheet, pull: float, held: float = 0.0
) -> Tensor:
    """The sum over lessons of the language loss, of the pull and of what holds the lengths."""
    embeds_BTE = model.get_input_embeddings()(sheet.ids_BT)
    is_seen_BT = sheet.ids_BT == model.config.image_token_id
    pulled = torch.zeros(())
    if sheet.grids_I3 is not None:
        seen_SE = see(model, sheet)
        embeds_BTE = embeds_BTE.masked_scatter(is_seen_BT[..., None], seen_SE.to(embeds_BTE.dtype))
        if pull:
            pulled = pull * pull_of(seen_SE, sheet.meant_S, model.lm_head.weight.detach())
        if held:
            pulled = pulled + held * length_off(seen_SE, model.lm_head.weight.detach())
    positions_3BT, _ = model.model.get_rope_index(
        sheet.ids_BT, mm_token_type_ids=is_seen_BT.int(), image_grid_thw=sheet.grids_I3
    )
    hidden_BTE = model.model.language_model(
        inputs_embeds=embeds_BTE, position_ids=positions_3BT, use_cache=False
    ).last_hidden_state
    learned_BT = sheet.targets_BT != IGNORED
    loss_N = F.cross_entropy(
        model.lm_head(hidden_BTE[learned_BT]), sheet.targets_BT[learned_BT], reduction="none"
    )
    return loss_N @ sheet.weights_BT[learned_BT] + sheet.lessons * pulled


def unchanged(model: Qwen2_5_VLForConditionalGeneration, sheet: Sheet) -> float:
    """Mean cosine between a visual token and what the layers have made of it before the last one."""
    is_seen_BT = sheet.ids_BT == model.config.image_token_id
    hidden = model(
        input_ids=sheet.ids_BT,
        pixel_values=sheet.pixels_PV,
        image_grid_thw=sheet.grids_I3,
        mm_token_type_ids=is_seen_BT.int(),
        output_hidden_states=True,
    ).hidden_states
    return F.cosine_similarity(hidden[0][is_seen_BT], hidden[-2][is_seen_BT], dim=-1).mean().item()
