"""Lessons with their pictures as tensors, and the loss of the real model on them.

Suffixes: B lessons, T tokens, P patches, V values of a patch, H hidden size of the tower, I pictures,
S visual tokens, F their features, E hidden size, N targets.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.base.lessons import Lesson
from xreasoner.miniworld.pictures.drawing import Pixels, draw_picture
from xreasoner.miniworld.pictures.worlds import VisualWorld
from xreasoner.miniworld.scene import CELL, Scene

IGNORED = -100
MOVED_FURTHER = 2
"""Pixels by which pictures of lessons are moved further than those of problems, as towers of real models
learn from crops: a problem that is moved a little more is then nothing new."""
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
class LessonBatch:
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
    """What the tower says about each visual token, from a bank, instead of the pixels."""

    @property
    def lessons(self) -> int:
        return len(self.ids_BT)


@dataclass
class _Row:
    ids: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    """Instead of pictures, if there is a bank."""
    grids: list[list[int]] = field(default_factory=list)
    meant: list[int] = field(default_factory=list)

    def write(self, ids: list[int], learned: bool = False) -> None:
        self.ids += ids
        self.learned += [learned] * len(ids)


class Bank(Protocol):
    """Features of a scene's visual tokens without a picture."""

    def pick(self, scene: Scene, rng: random.Random) -> Tensor: ...


class LessonEncoder:
    """Makes tensors of lessons, with the pictures of one world."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, world: VisualWorld, bank: Bank | None = None
    ) -> None:
        self.tokenizer, self.world, self.bank = tokenizer, world, bank
        self.drawn = replace(world, shift=world.shift + MOVED_FURTHER) if world.shift else world
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
            self.show(part, row, rng)
        row.write(self.words("<|im_end|> <|im_start|> assistant"))
        start = len(row.ids)
        row.write([*self.words(lesson.reply), *self.ids("<|im_end|>")], learned=True)
        if lesson.results_only:
            equals = self.ids("=")[0]
            row.learned[start:] = [row.ids[i - 1] == equals for i in range(start, len(row.ids))]
        return row

    def show(self, scene: Scene, row: _Row, rng: random.Random) -> None:
        if self.bank is None:
            pixels = draw_picture(scene, self.drawn, rng, "train")
            row.pictures.append(pixels)
            row.grids.append([1, pixels.shape[0] // PATCH, pixels.shape[1] // PATCH])
        else:
            row.features.append(self.bank.pick(scene, rng))
            row.grids.append([1, 2, 2 * len(row.features[-1])])
        tokens = row.grids[-1][1] * row.grids[-1][2] // 4
        row.write(
            [*self.ids("<|vision_start|>"), *self.ids("<|image_pad|>") * tokens, *self.ids("<|vision_end|>")]
        )
        own = self.world.tokens
        words = self.words(" ".join(scene.words()))
        row.meant += [word for word in words for _ in range(own)] if own else [IGNORED] * tokens

    def batches(self, lessons: list[Lesson], rng: random.Random, parts: int) -> list[LessonBatch]:
        """Batches of lessons of similar length, to reduce padding."""
        rows = sorted((self.row(lesson, rng) for lesson in lessons), key=lambda row: len(row.ids))
        size = -(-len(rows) // parts)
        return [self._batch(rows[i : i + size]) for i in range(0, len(rows), size)]

    def batch(self, lessons: list[Lesson], rng: random.Random) -> LessonBatch:
        """All of them in order."""
        return self._batch([self.row(lesson, rng) for lesson in lessons])

    def _batch(self, rows: list[_Row]) -> LessonBatch:
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
        features = [seen for row in rows for seen in row.features]
        grids = [grid for row in rows for grid in row.grids]
        return LessonBatch(
            torch.tensor([row.ids + [pad] * (length - len(row.ids)) for row in rows]),
            torch.from_numpy(np.concatenate([patches_of(p) for p in pictures])) if pictures else None,
            torch.tensor(grids) if grids else None,
            torch.tensor([word for row in rows for word in row.meant]),
            torch.tensor(targets),
            torch.tensor([[1 / sum(row.learned)] * length for row in rows]),
            torch.cat(features) if features else None,
        )


class SideBySide(torch.nn.Module):
    """In the projector's place: the patches of each visual token beside each other, (S, F)."""

    def forward(self, patches_PH: Tensor) -> Tensor:
        return patches_PH.reshape(-1, 4 * patches_PH.shape[-1])


def visual_tokens(model: Qwen2_5_VLForConditionalGeneration, batch: LessonBatch) -> Tensor:
    """The visual tokens of all pictures in order: (S, E)."""
    if batch.features_SF is not None:
        projector: Any = model.model.visual.merger
        return projector(batch.features_SF.reshape(-1, batch.features_SF.shape[-1] // 4))
    features: Any = model.get_image_features(batch.pixels_PV, batch.grids_I3)
    return torch.cat(features.pooler_output)


def tower_features(model: Qwen2_5_VLForConditionalGeneration, batch: LessonBatch) -> Tensor:
    """What the projector reads of the pictures of a batch: (S, F)."""
    visual: Any = model.model.visual
    projector, visual.merger = visual.merger, SideBySide()
    features_SF = visual_tokens(model, batch)
    visual.merger = projector
    return features_SF


def pull_of(seen_SE: Tensor, meant_S: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared distance of visual tokens to their words, in units of the variance of embeddings."""
    return (seen_SE - embeddings[meant_S]).square().mean() / embeddings.var()


def lesson_loss(model: Qwen2_5_VLForConditionalGeneration, batch: LessonBatch, pull: float) -> Tensor:
    """The sum over lessons of the language loss and of the pull."""
    embeds_BTE = model.get_input_embeddings()(batch.ids_BT)
    is_seen_BT = batch.ids_BT == model.config.image_token_id
    pulled = torch.zeros(())
    if batch.grids_I3 is not None:
        seen_SE = visual_tokens(model, batch)
        embeds_BTE = embeds_BTE.masked_scatter(is_seen_BT[..., None], seen_SE.to(embeds_BTE.dtype))
        if pull:
            pulled = pull * pull_of(seen_SE, batch.meant_S, model.lm_head.weight.detach())
    positions_3BT, _ = model.model.get_rope_index(
        batch.ids_BT, mm_token_type_ids=is_seen_BT.int(), image_grid_thw=batch.grids_I3
    )
    hidden_BTE = model.model.language_model(
        inputs_embeds=embeds_BTE, position_ids=positions_3BT, use_cache=False
    ).last_hidden_state
    learned_BT = batch.targets_BT != IGNORED
    loss_N = F.cross_entropy(
        model.lm_head(hidden_BTE[learned_BT]), batch.targets_BT[learned_BT], reduction="none"
    )
    return loss_N @ batch.weights_BT[learned_BT] + batch.lessons * pulled


def unchanged(model: Qwen2_5_VLForConditionalGeneration, batch: LessonBatch) -> float:
    """Mean cosine between a visual token and what the layers have made of it before the last one."""
    is_seen_BT = batch.ids_BT == model.config.image_token_id
    hidden = model(
        input_ids=batch.ids_BT,
        pixel_values=batch.pixels_PV,
        image_grid_thw=batch.grids_I3,
        mm_token_type_ids=is_seen_BT.int(),
        output_hidden_states=True,
    ).hidden_states
    return F.cosine_similarity(hidden[0][is_seen_BT], hidden[-2][is_seen_BT], dim=-1).mean().item()
