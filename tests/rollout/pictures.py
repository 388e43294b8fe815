"""Prompts with pictures of random pixels."""

import io

import numpy as np
from PIL import Image

from xreasoner.records import Message, Picture, Prompt


def picture(seed: int, width: int, height: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return Picture(file.getvalue())


def asked(name: str, *parts: str | Picture) -> Prompt:
    return Prompt(name, (Message("user", parts),))
