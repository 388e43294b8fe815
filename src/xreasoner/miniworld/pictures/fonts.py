"""Fonts: strokes of our own and Pillow's bundled font, with slant, width and thickness as parameters."""

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Mask = NDArray[np.uint8]
"""How much of each pixel is covered, 0 to 255: (height, width)."""
Point = tuple[float, float]
Line = tuple[Point, ...]

OVERSAMPLED = 4
"""Masks are drawn this much larger and averaged, so that edges are smooth."""
ASCENT, DEPTH = 6, 8
"""Height of capitals, and of the box with descenders, in the units of STROKES."""
ADVANCE = 5.4
"""From one letter to the next."""

_ARCH = ((0, 3), (1, 2), (3, 2), (4, 3), (4, 6))
STROKES: dict[str, tuple[Line, ...]] = {
    "0": (((1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)),),
    "1": (((0.8, 1.2), (2, 0), (2, 6)),),
    "2": (((0, 1), (1, 0), (3, 0), (4, 1), (4, 2), (0, 6), (4, 6)),),
    "3": (((0, 0), (4, 0), (2, 2.5), (4, 3.5), (4, 5), (3, 6), (1, 6), (0, 5)),),
    "4": (((3, 6), (3, 0), (0, 4), (4.4, 4)),),
    "5": (((4, 0), (0, 0), (0, 2.5), (3, 2.5), (4, 3.5), (4, 5), (3, 6), (0, 6)),),
    "6": (((4, 0), (2, 0), (0, 2), (0, 5), (1, 6), (3, 6), (4, 5), (4, 4), (3, 3), (0, 3)),),
    "7": (((0, 0), (4, 0), (1.5, 6)),),
    "8": (
        ((1, 3), (0, 2), (0, 1), (1, 0), (3, 0), (4, 1), (4, 2), (3, 3), (1, 3)),
        ((1, 3), (0, 4), (0, 5), (1, 6), (3, 6), (4, 5), (4, 4), (3, 3)),
    ),
    "9": (((0, 6), (2, 6), (4, 4), (4, 1), (3, 0), (1, 0), (0, 1), (0, 2), (1, 3), (4, 3)),),
    "+": (((0, 3), (4, 3)), ((2, 1), (2, 5))),
    "-": (((0, 3), (4, 3)),),
    "a": (((0.5, 2), (3, 2), (4, 3), (4, 6), (1, 6), (0, 5), (1, 4), (4, 4)),),
    "b": (((0, 0), (0, 6), (3, 6), (4, 5), (4, 3), (3, 2), (0, 2)),),
    "c": (((4, 2.5), (3, 2), (1, 2), (0, 3), (0, 5), (1, 6), (3, 6), (4, 5.5)),),
    "d": (((4, 0), (4, 6), (1, 6), (0, 5), (0, 3), (1, 2), (4, 2)),),
    "e": (((0, 4), (4, 4), (4, 3), (3, 2), (1, 2), (0, 3), (0, 5), (1, 6), (4, 6)),),
    "f": (((4, 0), (2, 0), (1.5, 1), (1.5, 6)), ((0, 2.5), (3.5, 2.5))),
    "g": (((4, 2), (1, 2), (0, 3), (0, 4), (1, 5), (4, 5)), ((4, 2), (4, 7), (3, 7.6), (0, 7.6))),
    "h": (((0, 0), (0, 6)), _ARCH),
    "k": (((0, 0), (0, 6)), ((4, 2), (0, 4.5)), ((1.2, 3.8), (4, 6))),
    "l": (((1.5, 0), (1.5, 5), (2.5, 6)),),
    "n": (((0, 2), (0, 6)), _ARCH),
    "p": (((0, 7.8), (0, 2), (3, 2), (4, 3), (4, 5), (3, 6), (0, 6)),),
    "r": (((0, 2), (0, 6)), ((0, 3.5), (1.5, 2), (3.5, 2))),
    "s": (((4, 2.3), (1, 2), (0, 3), (1, 4), (3, 4), (4, 5), (3, 6), (0, 6)),),
    "t": (((1.5, 0), (1.5, 5), (2.5, 6), (3.5, 6)), ((0, 2), (3.5, 2))),
    "u": (((0, 2), (0, 5), (1, 6), (3, 6), (4, 5)), ((4, 2), (4, 6))),
}
"""Each character as lines, x to the right and y down, in a box of 4 x 6 and a descender."""


@dataclass(frozen=True)
class Font:
    name: str
    strokes: bool = True
    """False: Pillow's bundled font."""
    rounding: int = 0
    """How many times the corners of strokes are cut."""
    slant: float = 0.0
    """Sideways shift of the top, as a fraction of the height."""
    width: float = 1.0
    thickness: float = 0.12
    """Of a stroke, as a fraction of the height of a capital. Pillow's font has its own; more is bold."""
    wobble: int = 0
    """Seed of small shifts of the points of strokes, the same for a point in all letters. 0: none."""


def smooth(line: Line, times: int) -> Line:
    """Chaikin's corner cutting: every corner is replaced by two points on its sides."""
    for _ in range(times):
        cut: list[Point] = [line[0]]
        for (ax, ay), (bx, by) in pairwise(line):
            cut += [
                (0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by),
                (0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by),
            ]
        line = (*cut, line[-1])
    return line


WOBBLE = 0.4
"""Largest shift of a point, in the units of STROKES."""


@lru_cache(maxsize=20_000)
def shifted(point: Point, wobble: int) -> Point:
    if not wobble:
        return point
    rng = random.Random(f"{wobble} {point}")
    return point[0] + rng.uniform(-WOBBLE, WOBBLE), point[1] + rng.uniform(-WOBBLE, WOBBLE)


def _stroked(text: str, font: Font, unit: float) -> Image.Image:
    """Text as strokes; `unit` is pixels per unit of STROKES."""
    pen = font.thickness * ASCENT * unit
    wide = ADVANCE * font.width * len(text) + ASCENT * abs(font.slant)
    image = Image.new("L", (math.ceil(wide * unit + 2 * pen), math.ceil(DEPTH * unit + 2 * pen)))
    draw = ImageDraw.Draw(image)
    start = max(0.0, -font.slant) * ASCENT
    for place, character in enumerate(text):
        for line in STROKES[character]:
            points = [
                (
                    pen + unit * (start + font.width * (ADVANCE * place + x) + font.slant * (ASCENT - y)),
                    pen + unit * y,
                )
                for x, y in smooth(tuple(shifted(point, font.wobble) for point in line), font.rounding)
            ]
            draw.line(points, fill=255, width=max(1, round(pen)), joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return image


def _typeset(text: str, font: Font, height: float) -> Image.Image:
    """Text in Pillow's font; `height` is that of a capital in pixels."""
    face = ImageFont.load_default(height / 0.7)
    bold = max(0, round((font.thickness - 0.12) * height))
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox(
        (0, 0), text, face, stroke_width=bold
    )
    lean = math.ceil(abs(font.slant) * (bottom - top))
    image = Image.new("L", (math.ceil(right - left) + 2 * lean, math.ceil(bottom - top)))
    ImageDraw.Draw(image).text((lean - left, -top), text, fill=255, font=face, stroke_width=bold)
    if font.slant:
        # A point of the result at (x, y) comes from (x + slant (y - middle), y) of the upright text.
        middle = font.slant * image.height / 2
        image = image.transform(image.size, Image.Transform.AFFINE, (1, font.slant, -middle, 0, 1, 0))
    return image.resize((max(1, round(image.width * font.width)), image.height))


@lru_cache(maxsize=200_000)
def text_mask(text: str, font: Font, height: int, widest: int) -> Mask:
    """The text, cropped; a capital is `height` pixels high, or less where the text would be too wide."""
    large = height * OVERSAMPLED
    image = _stroked(text, font, large / ASCENT) if font.strokes else _typeset(text, font, large)
    cropped = image.crop(image.getbbox())
    shrink = min(1.0, widest * OVERSAMPLED / cropped.width) / OVERSAMPLED
    size = (max(1, round(cropped.width * shrink)), max(1, round(cropped.height * shrink)))
    return np.asarray(cropped.resize(size, Image.Resampling.BOX))
