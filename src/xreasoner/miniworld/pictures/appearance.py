"""How a picture looks, apart from what it shows. Some fonts, sizes and colours are only for tests."""

import random
from dataclasses import dataclass, replace

from xreasoner.miniworld.item import Split
from xreasoner.miniworld.pictures.fonts import Font

Colour = tuple[int, int, int]

PLAIN = tuple(
    Font(f"plain {slant} {thickness} {width}", strokes=False, thickness=thickness, slant=slant, width=width)
    for thickness in (0.12, 0.16, 0.2)
    for slant in (-0.1, -0.05, 0.0, 0.1, 0.2)
    for width in (0.75, 0.8, 0.85, 0.95, 1.0, 1.2)
)
SHAPES_OF_STROKES = (
    *((0.0, 0.08, 1.0), (0.0, 0.12, 0.85), (0.0, 0.18, 1.0), (-0.1, 0.12, 1.0), (0.1, 0.18, 0.85)),
    *((0.1, 0.12, 1.1), (0.2, 0.08, 1.0), (0.2, 0.14, 0.9)),
)
"""Slant, thickness and width."""
STROKED = tuple(
    Font(f"{name} {slant} {thickness} {width}", True, rounding, slant, width, thickness)
    for name, rounding in (("square", 0), ("round", 2))
    for slant, thickness, width in SHAPES_OF_STROKES
)
WOBBLED = tuple(
    replace(font, name=f"{font.name} wobbled {i}", wobble=i) for i, font in enumerate(STROKED * 16, start=1)
)
FONTS: dict[Split, tuple[Font, ...]] = {
    "train": (*PLAIN, *STROKED, *WOBBLED),
    "dev": (
        Font("plain narrow", strokes=False, slant=0.05, width=0.9),
        Font("cut", rounding=1, thickness=0.15, width=1.1),
    ),
    "test": (
        Font("plain wide italic", strokes=False, slant=0.15, width=1.1),
        Font("square thick", thickness=0.16),
        Font("round thin narrow", rounding=2, thickness=0.1, width=0.9),
        Font("cut italic", rounding=1, slant=0.15),
    ),
}
SIZES: dict[Split, tuple[int, ...]] = {"train": (20, 22, 24, 26), "dev": (21,), "test": (23, 25)}
"""Side of the square of one symbol, in pixels."""
PAPERS: dict[Split, tuple[Colour, ...]] = {
    "train": (
        *((255, 255, 255), (240, 240, 235), (255, 248, 220), (225, 235, 245), (235, 235, 255)),
        *((255, 240, 245), (225, 225, 220), (230, 245, 245), (250, 250, 235), (240, 230, 215)),
    ),
    "dev": ((248, 244, 250),),
    "test": ((235, 245, 230), (250, 235, 225)),
}
INKS: dict[Split, tuple[Colour, ...]] = {
    "train": (
        *((20, 20, 20), (0, 0, 90), (90, 30, 10), (0, 70, 60), (80, 80, 80)),
        *((40, 0, 60), (100, 0, 40), (0, 50, 110), (80, 70, 10), (30, 80, 0)),
    ),
    "dev": ((60, 60, 60),),
    "test": ((70, 0, 70), (50, 50, 20)),
}
ACCENTS: dict[Split, tuple[Colour, ...]] = {
    "train": (
        *((40, 90, 200), (200, 60, 60), (120, 120, 120), (30, 140, 130), (230, 120, 150)),
        *((60, 60, 150), (200, 160, 40), (90, 150, 210), (140, 60, 110), (60, 110, 60)),
    ),
    "dev": ((150, 90, 180),),
    "test": ((90, 140, 40), (190, 110, 60)),
}
"""Of bars and needles."""
SHADES: dict[Split, dict[str, tuple[Colour, ...]]] = {
    "train": {
        "red": ((214, 40, 40), (180, 20, 50), (235, 70, 70)),
        "green": ((46, 139, 60), (20, 110, 30), (90, 170, 60)),
        "blue": ((40, 90, 200), (20, 40, 150), (80, 130, 230)),
        "orange": ((240, 150, 30), (250, 130, 0), (255, 175, 70)),
    },
    "dev": {
        "red": ((200, 35, 60),),
        "green": ((35, 125, 70),),
        "blue": ((60, 100, 180),),
        "orange": ((245, 140, 40),),
    },
    "test": {
        "red": ((225, 50, 60), (195, 45, 35)),
        "green": ((60, 150, 80), (60, 120, 20)),
        "blue": ((50, 70, 215), (30, 100, 170)),
        "orange": ((235, 135, 15), (250, 160, 60)),
    },
}
MOST_NOISE = 12.0
"""Standard deviation, of 255."""
JPEG_QUALITIES = (50, 95)
JPEG_SHARE = 0.25


@dataclass(frozen=True)
class Appearance:
    font: Font
    size: int
    paper: Colour
    paints: dict[str, Colour]
    """By what is painted: ink, accent, and the four colours of shapes."""
    noise: float
    jpeg: int | None
    """Quality, or None for a picture that was never compressed."""


def pick_appearance(rng: random.Random, split: Split) -> Appearance:
    paints = {name: rng.choice(shades) for name, shades in SHADES[split].items()}
    return Appearance(
        font=rng.choice(FONTS[split]),
        size=rng.choice(SIZES[split]),
        paper=rng.choice(PAPERS[split]),
        paints=paints | {"ink": rng.choice(INKS[split]), "accent": rng.choice(ACCENTS[split])},
        noise=rng.choice((0.0, rng.uniform(0, MOST_NOISE))),
        jpeg=rng.randint(*JPEG_QUALITIES) if rng.random() < JPEG_SHARE else None,
    )


def one_look() -> Appearance:
    """The look of every picture in a world without variation."""
    colours = {name: shades[0] for name, shades in SHADES["train"].items()}
    paints = colours | {"ink": INKS["train"][0], "accent": ACCENTS["train"][0]}
    return Appearance(FONTS["train"][0], SIZES["train"][0], PAPERS["train"][0], paints, 0.0, None)
