"""A perception probe for real models: generated images with questions that need no reasoning.

The same seed gives the same images before and after post-training, so a loss of perception shows.
"""

import io
import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageDraw, ImageFont

from xreasoner.records import Part, Picture, Problem

SIDE = 448
"""Pixels; 16 visual tokens of 28 pixels each way."""
COLOURS = {
    "red": (214, 39, 40), "green": (34, 139, 58), "blue": (31, 90, 200), "yellow": (240, 200, 20),
    "black": (20, 20, 20), "purple": (130, 60, 170),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle")
CODE_CHARACTERS = "ABCDEFGHJKLMNPRSTUVWXYZ23456789"
"""Without characters that are easily confused."""
ANSWER_ONLY = "Answer with {} only."

Box = tuple[float, float, float, float]


def make_probe(count: int, seed: int) -> Iterator[Problem]:
    """Problems of the three kinds in turn."""
    kinds: tuple[tuple[str, Callable[[random.Random], tuple[Image.Image, str, str]]], ...] = (
        ("transcription", transcription),
        ("counting", counting),
        ("presence", presence),
    )
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        picture, question, answer = make(random.Random(f"probe {seed} {number}"))
        parts: tuple[Part, ...] = (encoded(picture), question)
        key = f"probe-{seed}-{number:05d}"
        yield Problem(key, parts, answer, "exact", domain="perception", source="probe", tags={"family": name})


def transcription(rng: random.Random) -> tuple[Image.Image, str, str]:
    """Read a random code at a random position and size."""
    code = "".join(rng.choices(CODE_CHARACTERS, k=rng.randint(3, 6)))
    picture = Image.new("RGB", (SIDE, SIDE), shade(rng))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=rng.randint(32, 72))
    _, _, right, bottom = draw.textbbox((0, 0), code, font=font)
    at = (rng.uniform(8, SIDE - 8 - right), rng.uniform(8, SIDE - 8 - bottom))
    draw.text(at, code, font=font, fill=COLOURS[rng.choice(("red", "black", "blue"))])
    return picture, f"What is written in the picture? {ANSWER_ONLY.format('the characters')}", code


def counting(rng: random.Random) -> tuple[Image.Image, str, str]:
    """Count the shapes of one colour among distractors that share either colour or shape."""
    colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
    others = [
        (c, s) for c in COLOURS for s in SHAPES if (c, s) != (colour, shape) and (c == colour or s == shape)
    ]
    wanted = rng.randint(0, 6)
    things = [(colour, shape)] * wanted + rng.choices(others, k=rng.randint(2, 6))
    question = f"How many {colour} {shape}s are in the picture? {ANSWER_ONLY.format('a number')}"
    return scatter(things, rng), question, str(wanted)


def presence(rng: random.Random) -> tuple[Image.Image, str, str]:
    """Is a coloured shape present? In half of the images colour and shape occur, but not together."""
    colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
    is_there = rng.random() < 0.5
    other_colour = rng.choice([c for c in COLOURS if c != colour])
    other_shape = rng.choice([s for s in SHAPES if s != shape])
    things = [(colour, other_shape), (other_colour, shape), (other_colour, other_shape)]
    things += [(colour, shape)] if is_there else [rng.choice(things)]
    question = f"Is there a {colour} {shape} in the picture? {ANSWER_ONLY.format('yes or no')}"
    return scatter(things, rng), question, "yes" if is_there else "no"


def scatter(things: list[tuple[str, str]], rng: random.Random) -> Image.Image:
    """Draw at most one shape per grid cell, so that none overlap."""
    picture, cells = Image.new("RGB", (SIDE, SIDE), shade(rng)), 4
    draw, cell = ImageDraw.Draw(picture), SIDE / cells
    for (colour, shape), place in zip(things, rng.sample(range(cells**2), len(things)), strict=True):
        size = rng.uniform(0.45, 0.8) * cell
        x = place % cells * cell + rng.uniform(4, cell - size - 4)
        y = place // cells * cell + rng.uniform(4, cell - size - 4)
        draw_shape(draw, shape, (x, y, x + size, y + size), COLOURS[colour])
    return picture


def draw_shape(draw: ImageDraw.ImageDraw, shape: str, box: Box, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=colour)


def shade(rng: random.Random) -> tuple[int, int, int]:
    """A random light background."""
    return (rng.randint(232, 255), rng.randint(232, 255), rng.randint(232, 255))


def encoded(picture: Image.Image) -> Picture:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Picture(file.getvalue())
