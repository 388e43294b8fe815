"""The perception probe: the same seed gives the same images, and the answers match the pixels."""

import io
from collections import Counter, deque

import pytest
from PIL import Image

from xreasoner.data.probe import CODE_CHARACTERS, COLOURS, SHAPES, make_probe
from xreasoner.records import Problem

PROBLEMS = list(make_probe(120, 0))


def pixels(problem: Problem) -> Image.Image:
    return Image.open(io.BytesIO(problem.pictures[0].encoded))


def of_family(family: str) -> list[Problem]:
    return [problem for problem in PROBLEMS if problem.tags["family"] == family]


def asked_about(problem: Problem) -> tuple[str, str]:
    words = str(problem.question[1]).split("?")[0].split()
    colour = next(word for word in words if word in COLOURS)
    return colour, words[words.index(colour) + 1].removesuffix("s")


def things_of(picture: Image.Image, colour: str) -> list[str]:
    """The shape of every connected patch of a colour, by how much of its box it fills."""
    width, height = picture.size
    left = {
        (x, y) for x in range(width) for y in range(height) if picture.getpixel((x, y)) == COLOURS[colour]
    }
    found = []
    while left:
        queue, patch = deque([left.pop()]), list[tuple[int, int]]()
        while queue:
            x, y = queue.popleft()
            patch.append((x, y))
            for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if near in left:
                    left.remove(near)
                    queue.append(near)
        xs, ys = [x for x, _ in patch], [y for _, y in patch]
        filled = len(patch) / ((max(xs) - min(xs) + 1) * (max(ys) - min(ys) + 1))
        found.append("square" if filled > 0.95 else "circle" if filled > 0.7 else "triangle")
    return found


@pytest.mark.parametrize("family", ["counting", "presence"])
def test_the_answer_is_what_a_count_of_the_pixels_says(family: str) -> None:
    for problem in of_family(family)[:6]:
        colour, shape = asked_about(problem)
        seen = things_of(pixels(problem), colour).count(shape)
        assert problem.answer == (str(seen) if family == "counting" else "yes" if seen else "no")


def test_neither_answers_nor_words_give_the_key_away() -> None:
    presence = Counter(problem.answer for problem in of_family("presence"))
    assert min(presence["yes"], presence["no"]) >= 12
    assert len({problem.answer for problem in of_family("counting")}) == 7
    codes = [problem.answer for problem in of_family("transcription")]
    assert len(set(codes)) == len(codes) and set("".join(codes)) <= set(CODE_CHARACTERS)
    shapes = Counter(asked_about(problem)[1] for problem in of_family("presence"))
    assert set(shapes) == set(SHAPES)


def test_a_code_is_drawn_within_the_picture() -> None:
    for problem in of_family("transcription"):
        picture = pixels(problem)
        border = [picture.getpixel((x, y)) for x in range(448) for y in (0, 447)]
        border += [picture.getpixel((x, y)) for y in range(448) for x in (0, 447)]
        assert len(set(border)) == 1
        assert len(picture.getcolors(100_000) or []) > 1


def test_the_same_seed_makes_the_same_probe_and_another_one_another() -> None:
    assert list(make_probe(9, 0)) == PROBLEMS[:9]
    other = list(make_probe(9, 1))
    assert not {one.id for one in other} & {one.id for one in PROBLEMS}
    assert [one.pictures for one in other] != [one.pictures for one in PROBLEMS[:9]]
