"""Images of scenes. A cell has 28 x 28 pixels: exactly one visual token of Qwen2.5-VL."""

import math
import random
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from xreasoner.miniworld.lexicon import LEVELS
from xreasoner.miniworld.scene import CELL, Cell, Scene

INK = (20, 20, 20)
PAPER = (255, 255, 255)
PALETTE = {"red": (214, 40, 40), "green": (46, 139, 60), "blue": (40, 90, 200), "orange": (240, 150, 30)}
STAR = ((14, 3), (17, 11), (25, 11), (19, 16), (21, 25), (14, 20), (7, 25), (9, 16), (3, 11), (11, 11))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _glyph(draw: ImageDraw.ImageDraw, text: str, dx: int, dy: int) -> None:
    draw.text((14 + dx, 14 + dy), text, fill=INK, font=_font(20 if len(text) == 1 else 16), anchor="mm")


def _bar(draw: ImageDraw.ImageDraw, label: str, height: int, dx: int, dy: int) -> None:
    """A horizontal bar. Its length is relative to the cell, so only the label moves sideways."""
    draw.rectangle((1, 2 + dy, 1 + 2.7 * height, 10 + dy), fill=PALETTE["blue"])
    draw.text((14 + dx, 19 + dy), label, fill=INK, font=_font(14), anchor="mm")


def _shape(draw: ImageDraw.ImageDraw, colour: str, shape: str, dx: int, dy: int) -> None:
    fill = PALETTE[colour]
    box = (5 + dx, 5 + dy, 23 + dx, 23 + dy)
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "square":
        draw.rectangle(box, fill=fill)
    elif shape == "triangle":
        draw.polygon([(14 + dx, 4 + dy), (24 + dx, 23 + dy), (4 + dx, 23 + dy)], fill=fill)
    else:
        draw.polygon([(x + dx, y + dy) for x, y in STAR], fill=fill)


def _dial(draw: ImageDraw.ImageDraw, analyte: str, level: int, dx: int, dy: int) -> None:
    """A needle over a semicircle, from the lowest level on the left to the highest on the right."""
    x, y, angle = 14 + dx, 14 + dy, math.pi * (1 - level / (len(LEVELS) - 1))
    draw.arc((x - 12, y - 12, x + 12, y + 12), 180, 360, fill=PALETTE["green"], width=2)
    draw.line((x, y, x + 11 * math.cos(angle), y - 11 * math.sin(angle)), fill=PALETTE["red"], width=3)
    draw.text((x, y + 7), analyte, fill=INK, font=_font(11), anchor="mm")


@lru_cache(maxsize=20_000)
def draw_cell(cell: Cell, dx: int, dy: int) -> Image.Image:
    image = Image.new("RGB", (CELL, CELL), PAPER)
    draw = ImageDraw.Draw(image)
    match cell.look:
        case "bar":
            _bar(draw, cell.parts[0], int(cell.parts[1]), dx, dy)
        case "shape":
            _shape(draw, cell.parts[0], cell.parts[1], dx, dy)
        case "dial":
            _dial(draw, cell.parts[0], int(cell.parts[1]), dx, dy)
        case "glyph":
            _glyph(draw, cell.word, dx, dy)
    return image


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """Each cell is shifted by up to a pixel."""
    image = Image.new("RGB", (CELL * len(scene.cells), CELL), PAPER)
    for x, cell in enumerate(scene.cells):
        image.paste(draw_cell(cell, rng.randint(-1, 1), rng.randint(-1, 1)), (x * CELL, 0))
    return image
