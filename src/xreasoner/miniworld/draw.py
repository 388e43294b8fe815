"""Pictures of scenes. One cell is 28 x 28 pixels: exactly one visual token of Qwen2.5-VL."""

import io
import random
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.records import Picture

CELL = 28
INK = (20, 20, 20)
PAPER = (255, 255, 255)
PALETTE = {"red": (214, 40, 40), "green": (46, 139, 60), "blue": (40, 90, 200), "orange": (240, 150, 30)}
STAR = ((14, 3), (17, 11), (25, 11), (19, 16), (21, 25), (14, 20), (7, 25), (9, 16), (3, 11), (11, 11))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _glyph(draw: ImageDraw.ImageDraw, text: str, dx: int, dy: int) -> None:
    size = 20 if len(text) == 1 else 16 if len(text) == 2 else 12
    draw.text((14 + dx, 14 + dy), text, fill=INK, font=_font(size), anchor="mm")


def _bar(draw: ImageDraw.ImageDraw, length: int, dy: int) -> None:
    draw.rectangle((0, 7 + dy, 3 * length, 21 + dy), fill=PALETTE["blue"])


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


@lru_cache(maxsize=20_000)
def draw_cell(cell: Cell, dx: int, dy: int) -> Image.Image:
    image = Image.new("RGB", (CELL, CELL), PAPER)
    draw = ImageDraw.Draw(image)
    if cell.look == "bar":
        _bar(draw, int(cell.words[0]), dy)
    elif cell.look == "shape":
        _shape(draw, cell.words[0], cell.words[1], dx, dy)
    else:
        _glyph(draw, cell.words[0], dx, dy)
    return image


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """Each cell a pixel or so off its place, as hands and printers do."""
    rows = scene.rows()
    image = Image.new("RGB", (CELL * max(len(row) for row in rows), CELL * len(rows)), PAPER)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            image.paste(draw_cell(cell, rng.randint(-1, 1), rng.randint(-1, 1)), (x * CELL, y * CELL))
    return image


def encode_picture(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return Picture(buffer.getvalue())
