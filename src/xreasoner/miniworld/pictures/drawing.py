"""Pictures of scenes in a world: where the symbols are, and what happens to the picture afterwards."""

import io
import random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xreasoner.chat.open_image import open_image
from xreasoner.miniworld.item import Split
from xreasoner.miniworld.pictures.appearance import Appearance, one_look, pick_appearance
from xreasoner.miniworld.pictures.charts import draw_chart
from xreasoner.miniworld.pictures.symbols import Layer, symbol
from xreasoner.miniworld.pictures.worlds import VisualWorld
from xreasoner.miniworld.scene import CELL, Scene
from xreasoner.records import Picture

Pixels = NDArray[np.uint8]
"""(height, width, 3)"""
Place = tuple[int, int]
"""Left and top of a symbol."""
PixelValue = TypeVar("PixelValue", np.uint8, np.float32)
"""Of a pixel, before or after rounding."""
MOST_IN_A_ROW = 4


def whole_tokens(pixels: int) -> int:
    """Rounded up to a multiple of one visual token, so that the image processor does not resize."""
    return -(-pixels // CELL) * CELL


def on_grid(
    count: int, size: int, offset: int, rng: random.Random, tokens: int = 1
) -> tuple[list[Place], Place]:
    """One row, each symbol in tokens of its own; a large symbol has less room to move."""

    def start(length: int) -> int:
        room = length - size
        return rng.randint(max(0, room // 2 - offset), min(room, room // 2 + offset))

    wide = CELL * tokens
    return [(wide * i + start(wide), start(CELL)) for i in range(count)], (wide * count, CELL)


def in_rows(count: int, longest: int, size: int, rng: random.Random) -> tuple[list[Place], Place]:
    """Rows of at most `longest`, anywhere on the picture, with gaps that vary."""
    gap, line = rng.randint(1, size // 3), size + rng.randint(1, size // 2)
    left, top = rng.randrange(CELL), rng.randrange(CELL)
    places = [
        (
            left + (i % longest) * (size + gap) + rng.randint(0, 1),
            top + (i // longest) * line + rng.randint(-1, 0),
        )
        for i in range(count)
    ]
    places = [(x, max(0, y)) for x, y in places]
    wide, high = max(x for x, _ in places) + size, max(y for _, y in places) + size
    return places, (whole_tokens(wide), whole_tokens(high))


def paint(image: NDArray[np.float32], layers: tuple[Layer, ...], place: Place, look: Appearance) -> None:
    left, top = place
    for mask, name in layers:
        high, wide = mask.shape
        covered = (mask.astype(np.float32) / 255)[..., None]
        under = image[top : top + high, left : left + wide]
        under += covered * (np.asarray(look.paints[name], np.float32) - under)


def moved(image: NDArray[PixelValue], right: int, down: int) -> NDArray[PixelValue]:
    """What leaves the picture is lost; the edge is repeated where the picture came from."""
    high, wide = image.shape[:2]
    sides = ((max(0, down), max(0, -down)), (max(0, right), max(0, -right)), (0, 0))
    padded = np.pad(image, sides, mode="edge")
    return padded[max(0, -down) : max(0, -down) + high, max(0, -right) : max(0, -right) + wide]


def blank(size: Place, look: Appearance) -> NDArray[np.float32]:
    wide, high = size
    return np.full((high, wide, 3), look.paper, np.float32)


def worn(image: NDArray[np.float32], look: Appearance, rng: random.Random) -> Pixels:
    """With noise and JPEG."""
    if look.noise:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(image.shape, np.float32)
        image = image + look.noise * noise
    pixels = image.clip(0, 255).round().astype(np.uint8)
    if look.jpeg is None:
        return pixels
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=look.jpeg)
    return np.asarray(open_image(stored.getvalue()))


def draw_picture(scene: Scene, world: VisualWorld, rng: random.Random, split: Split) -> Pixels:
    """A picture with an appearance of the split, of whole visual tokens."""
    look = pick_appearance(rng, split) if world.varied else one_look()
    count = len(scene.cells)
    if world.plane and count > 1 and all(cell.look == "bar" for cell in scene.cells):
        layers, size = draw_chart(scene, look, rng)
        image = blank((whole_tokens(size[0]), whole_tokens(size[1])), look)
        for layer, place in layers:
            paint(image, (layer,), place, look)
        return worn(image, look, rng)
    if world.tokens:
        places, size = on_grid(count, look.size, world.offset, rng, world.tokens)
    else:
        longest = rng.randint(2, MOST_IN_A_ROW) if world.plane else count
        places, size = in_rows(count, longest, look.size, rng)
    image = blank(size, look)
    for cell, place in zip(scene.cells, places, strict=True):
        paint(image, symbol(cell, look.font, look.size), place, look)
    if world.shift:
        image = moved(image, rng.randint(-world.shift, world.shift), rng.randint(-world.shift, world.shift))
    return worn(image, look, rng)


def encode_picture(pixels: Pixels) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return Picture(buffer.getvalue())
