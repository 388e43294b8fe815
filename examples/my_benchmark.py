"""A benchmark of your own in Python, with its own scorer.

xreasoner eval miniworld --bench examples/my_benchmark.py:make --scorer examples/my_benchmark.py:close_enough
"""

import io
import re
from collections.abc import Iterator

from PIL import Image, ImageDraw

from xreasoner import Picture, Problem, Reply


def make() -> Iterator[Problem]:
    """How long is the bar? The pictures are drawn here; yours may be read from files."""
    for length in range(20, 120, 10):
        image = Image.new("RGB", (140, 56), "white")
        ImageDraw.Draw(image).rectangle((10, 20, 10 + length, 36), fill="blue")
        png = io.BytesIO()
        image.save(png, "PNG")
        question = (Picture(png.getvalue()), "How many pixels long is the bar?")
        yield Problem(f"bar-{length}", question, answer=str(length), kind="number", tags={"length": length})


def close_enough(problem: Problem, reply: Reply) -> float | None:
    """1 is right. Here an answer within a tenth is; our grader would want the exact number."""
    numbers = re.findall(r"\d+", reply.score.extracted or "")
    return float(bool(numbers) and abs(int(numbers[-1]) - int(problem.answer)) <= int(problem.answer) / 10)
