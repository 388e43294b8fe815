"""A scene: a strip of cells that can be written as words or drawn as an image."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Cell:
    """A symbol that fills one visual token when drawn, and is one word when written."""

    parts: tuple[str, ...]
    """Its content: a number, a colour and a shape, or a name and a value."""
    look: Look = "glyph"

    @property
    def word(self) -> str:
        return "".join(self.parts)


@dataclass(frozen=True)
class Scene:
    cells: tuple[Cell, ...]

    def words(self) -> list[str]:
        return [cell.word for cell in self.cells]


def alphabet() -> list[Cell]:
    """All cells."""
    glyphs = [Cell((word,)) for word in (*NUMBERS[: LARGEST + 1], *OPERANDS)]
    bars = [Cell((label, str(height)), "bar") for label in LABELS for height in HEIGHTS]
    shapes = [Cell((colour, shape), "shape") for colour in COLOURS for shape in SHAPES]
    dials = [Cell((analyte, str(level)), "dial") for analyte in ANALYTES for level in LEVELS]
    return glyphs + bars + shapes + dials
