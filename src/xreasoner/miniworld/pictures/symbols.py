"""One symbol as layers of paint: a text, a bar with its name, a coloured shape, a dial."""

import math
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw

from xreasoner.miniworld.lexicon import HEIGHTS, LEVELS
from xreasoner.miniworld.pictures.fonts import OVERSAMPLED, Font, Mask, text_mask
from xreasoner.miniworld.scene import Cell

Layer = tuple[Mask, str]
"""What is covered, over the whole square of the symbol, and the name of its paint."""
Path = tuple[tuple[float, float], ...]

STAR: Path = tuple(
    (0.5 + r * math.sin(math.pi * k / 5), 0.52 - r * math.cos(math.pi * k / 5))
    for k, r in enumerate((0.48, 0.2) * 5)
)
TRIANGLE: Path = ((0.5, 0.08), (0.93, 0.9), (0.07, 0.9))


def _text(text: str, font: Font, size: int, height: float, middle_y: float) -> Mask:
    """Text in the middle of the square; `height` of a capital and `middle_y` are fractions of its side."""
    drawn = text_mask(text, font, max(4, round(height * size)), size - 1)
    mask = np.zeros((size, size), np.uint8)
    top = min(max(0, round(middle_y * size - drawn.shape[0] / 2)), size - drawn.shape[0])
    left = (size - drawn.shape[1]) // 2
    mask[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return mask


class _Canvas:
    """Coordinates from 0 to 1, smooth edges."""

    def __init__(self, size: int) -> None:
        self.size, self.side = size, size * OVERSAMPLED
        self.image = Image.new("L", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, *points: float) -> list[float]:
        return [point * self.side for point in points]

    def mask(self) -> Mask:
        return np.asarray(self.image.resize((self.size, self.size), Image.Resampling.BOX))


@cache
def _bar(length: int, size: int) -> tuple[Mask, Mask]:
    """A bar in a frame: its length is told from the frame, whatever the size."""
    bar, frame = _Canvas(size), _Canvas(size)
    end = 0.05 + 0.9 * length / (HEIGHTS[-1] + 1)
    bar.draw.rectangle(bar.at(0.05, 0.11, end, 0.32), fill=255)
    frame.draw.rectangle(frame.at(0.03, 0.08, 0.97, 0.35), outline=255, width=OVERSAMPLED)
    return bar.mask(), frame.mask()


@cache
def _shape(shape: str, size: int) -> Mask:
    canvas = _Canvas(size)
    match shape:
        case "circle":
            canvas.draw.ellipse(canvas.at(0.12, 0.12, 0.88, 0.88), fill=255)
        case "square":
            canvas.draw.rectangle(canvas.at(0.15, 0.15, 0.85, 0.85), fill=255)
        case _:
            path = TRIANGLE if shape == "triangle" else STAR
            canvas.draw.polygon([(x * canvas.side, y * canvas.side) for x, y in path], fill=255)
    return canvas.mask()


@cache
def _dial(level: int, size: int) -> tuple[Mask, Mask]:
    """A needle over a semicircle, from the lowest level on the left to the highest on the right."""
    arc, needle = _Canvas(size), _Canvas(size)
    arc.draw.arc(arc.at(0.04, 0.04, 0.96, 0.96), 180, 360, fill=255, width=arc.side // 14)
    angle = math.pi * (1 - level / (len(LEVELS) - 1))
    tip = (0.5 + 0.4 * math.cos(angle), 0.5 - 0.4 * math.sin(angle))
    needle.draw.line(needle.at(0.5, 0.5, *tip), fill=255, width=needle.side // 9)
    return arc.mask(), needle.mask()


@lru_cache(maxsize=400_000)
def symbol(cell: Cell, font: Font, size: int) -> tuple[Layer, ...]:
    match cell.look:
        case "bar":
            bar, frame = _bar(int(cell.parts[1]), size)
            return (bar, "accent"), (frame, "ink"), (_text(cell.parts[0], font, size, 0.44, 0.61), "ink")
        case "shape":
            return ((_shape(cell.parts[1], size), cell.parts[0]),)
        case "dial":
            arc, needle = _dial(int(cell.parts[1]), size)
            return (arc, "ink"), (needle, "accent"), (_text(cell.parts[0], font, size, 0.34, 0.72), "ink")
        case "glyph":
            return ((_text(cell.word, font, size, 0.6, 0.5), "ink"),)
