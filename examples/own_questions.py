"""Your own questions and pictures for the mini-world: `python examples/own_questions.py mine`.

Writes 200 questions as text with thoughts, to train on, and 200 others with pictures, to test on.
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = 28
"""Pixels. Each cell shows one word; an image is one row of cells."""


def picture(words: list[str]) -> Image.Image:
    image = Image.new("RGB", (CELL * len(words), CELL), "white")
    for place, word in enumerate(words):
        font = ImageFont.load_default(20 if len(word) == 1 else 16)
        middle = (CELL * place + CELL // 2, CELL // 2)
        ImageDraw.Draw(image).text(middle, word, fill=(20, 20, 20), font=font, anchor="mm")
    return image


def sums(rng: random.Random, count: int) -> list[list[int]]:
    """A first number, then two to four that are added or subtracted; all results from 0 to 40."""
    found: dict[tuple[int, ...], list[int]] = {}
    while len(found) < count:
        numbers = [total := rng.randint(0, 40)]
        for _ in range(rng.randint(2, 4)):
            change = rng.choice([one for one in range(-9, 10) if one and 0 <= total + one <= 40])
            numbers.append(change)
            total += change
        found[tuple(numbers)] = numbers
    return list(found.values())


def thought(numbers: list[int]) -> str:
    """First what is seen, then a step for each number."""
    total, steps = numbers[0], []
    for change in numbers[1:]:
        steps.append(f"{total} {change:+} = {total + change} ;")
        total += change
    return f"{' '.join(written(numbers))} so {' '.join(steps)}"


def written(numbers: list[int]) -> list[str]:
    return [str(numbers[0]), *(f"{one:+}" for one in numbers[1:])]


def main(out: Path) -> None:
    (out / "pictures").mkdir(parents=True)
    every = sums(random.Random(0), 400)
    train = [
        {
            "question": f"[ {' '.join(written(one))} ] work out",
            "reasoning": thought(one),
            "answer": str(sum(one)),
        }
        for one in every[:200]
    ]
    test = []
    for number, one in enumerate(every[200:]):
        name = f"pictures/{number:03}.png"
        picture(written(one)).save(out / name)
        test.append({"question": "work out", "image": name, "answer": str(sum(one))})
    for name, rows in (("train", train), ("test", test)):
        (out / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
