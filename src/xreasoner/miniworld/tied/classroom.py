"""Lessons as tensors: ids, rope positions, targets, and which cell is shown at which position."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from xreasoner.miniworld.base.lessons import Lesson
from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.miniworld.tied.seeing import OFFSETS

JITTERS = len(OFFSETS)
"""Shifted copies of each cell in the table of visual tokens."""


@dataclass(frozen=True)
class CellBatch:
    ids_BT: Tensor
    cells_BT: Tensor
    """Row in the table of visual tokens, -1 for text."""
    positions_3BT: Tensor
    targets_BT: Tensor
    """The next token where it is a target, else -100."""
    weights_BT: Tensor
    """Each lesson has the same weight, so that long transcriptions do not outweigh short answers."""


@dataclass
class _CellRow:
    ids: list[int]
    cells: list[int]
    positions: list[tuple[int, int, int]]
    learned: list[bool]
    next_position: int = 0

    def write(self, ids: list[int], learned: list[bool] | bool = False) -> None:
        self.ids += ids
        self.cells += [-1] * len(ids)
        self.learned += learned if isinstance(learned, list) else [learned] * len(ids)
        self.positions += [(self.next_position + i,) * 3 for i in range(len(ids))]
        self.next_position += len(ids)

    def draw(self, cells: list[int], pad: int) -> None:
        start = self.next_position
        self.ids += [pad] * len(cells)
        self.cells += cells
        self.learned += [False] * len(cells)
        self.positions += [(start, start, start + x) for x in range(len(cells))]
        self.next_position += len(cells)


class Classroom:
    def __init__(self, tokenizer: PreTrainedTokenizerFast, cells: list[Cell]) -> None:
        self.tokenizer = tokenizer
        self.cell_index = {cell: i for i, cell in enumerate(cells)}
        self.cache: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        if text not in self.cache:
            self.cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return list(self.cache[text])

    def words(self, text: str) -> list[int]:
        return [i for word in text.split() for i in self.ids(word)]

    def _seen(self, scene: Scene, rng: random.Random) -> list[int]:
        return [self.cell_index[cell] * JITTERS + rng.randrange(JITTERS) for cell in scene.cells]

    def row(self, lesson: Lesson, rng: random.Random) -> _CellRow:
        row = _CellRow([], [], [], [])
        if lesson.system:
            row.write(self.words(f"<|im_start|> system {lesson.system} <|im_end|>"))
        row.write(self.words("<|im_start|> user"))
        for piece in lesson.prompt:
            if isinstance(piece, str):
                row.write(self.words(piece))
            else:
                row.write(self.ids("<|vision_start|>"))
                row.draw(self._seen(piece, rng), self.ids("<|image_pad|>")[0])
                row.write(self.ids("<|vision_end|>"))
        row.write(self.words("<|im_end|> <|im_start|> assistant"))
        reply = [*self.words(lesson.reply), *self.ids("<|im_end|>")]
        equals = self.ids("=")[0]
        after_equals = [i > 0 and reply[i - 1] == equals for i in range(len(reply))]
        row.write(reply, after_equals if lesson.results_only else True)
        return row

    def batches(self, lessons: list[Lesson], rng: random.Random, parts: int) -> list[CellBatch]:
        """Batches of lessons of similar length, to reduce padding."""
        rows = sorted((self.row(lesson, rng) for lesson in lessons), key=lambda row: len(row.ids))
        size = -(-len(rows) // parts)
        return [self._batch(rows[i : i + size]) for i in range(0, len(rows), size)]

    def _batch(self, rows: list[_CellRow]) -> CellBatch:
        length = max(len(row.ids) for row in rows)
        pad = self.tokenizer.pad_token_id
        targets = [
            [row.ids[i + 1] if i + 1 < len(row.ids) and row.learned[i + 1] else -100 for i in range(length)]
            for row in rows
        ]
        return CellBatch(
            torch.tensor([row.ids + [pad] * (length - len(row.ids)) for row in rows]),
            torch.tensor([row.cells + [-1] * (length - len(row.cells)) for row in rows]),
            torch.tensor(
                [row.positions + [(0, 0, 0)] * (length - len(row.positions)) for row in rows]
            ).permute(2, 0, 1),
            torch.tensor(targets),
            torch.tensor([[1 / sum(row.learned)] * length for row in rows]),
        )
