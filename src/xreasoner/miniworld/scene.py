"""A scene: a strip of cells that can be written as words or drawn as an image."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from xreasoner.miniworld.lexicon import (
    ANALYTES,
    COLOURS,
    HEIGHTS,
    LABELS,
    LARGEST,
    LEVELS,
    NUMBERS,
    OPERANDS,
    SHAPES,
)

Look = Literal["glyph", "bar", "shape", "dial"]

CELL = 28
"""Pixels to a side of what one visual token of Qwen2.5-VL sees: two by two patches of 14."""


@dataclass(frozen=True)
class Cell:
    """A symbol that fills one visual token when drawn, and is one word when written."""

    parts: tuple[str, ...]
    """Its content: a number, a colour and a shape, or a name and a value."""
    look: Look = "glyph"

    @cached_property
    def word(self) -> str:
        return "".join(self.parts)


@cache
def cell(look: Look, *parts: str) -> Cell:
    """There are few different cells, and scenes are drawn by the ten thousand: each is made once."""
    return Cell(parts, look)


@dataclass(frozen=True)
class Scene:
    cells: tuple[Cell, ...]

    def words(self) -> list[str]:
        return [cell.word for cell in self.cells]


def alphabet() -> list[Cell]:
    """All cells."""
    glyphs = [cell("glyph", word) for word in (*NUMBERS[: LARGEST + 1], *OPERANDS)]
    bars = [cell("bar", label, str(height)) for label in LABELS for height in HEIGHTS]
    shapes = [cell("shape", colour, shape) for colour in COLOURS for shape in SHAPES]
    dials = [cell("dial", analyte, str(level)) for analyte in ANALYTES for level in LEVELS]
    return glyphs + bars + shapes + dials
