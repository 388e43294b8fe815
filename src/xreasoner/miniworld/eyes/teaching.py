"""What is taught about pictures: to transcribe them, and to describe them."""

import random
from dataclasses import replace

from xreasoner.chat.think import write_answer
from xreasoner.miniworld.eyes.training import Teacher
from xreasoner.miniworld.families.shapes import make_shapes
from xreasoner.miniworld.lessons import Lesson, Syllabus, draw_item, jumble, next_lesson, show
from xreasoner.miniworld.problems import split_of
from xreasoner.miniworld.scene import Scene

READ_SIZES = (2, 4, 8, 8, 12)
"""Most symbols of a picture to read, while the eyes are aligned: a larger one in each fifth of the steps."""
READING_SHARE = 0.5
COUNTING_SHARE = 0.12
"""Of the other lessons: how many of a few shapes."""


def count_lesson(rng: random.Random, drawn: float) -> Lesson:
    """How many of one to four shapes, answered directly."""
    while True:
        item = make_shapes(rng, 2)
        scene = Scene(item.scene.cells[: rng.randint(1, len(item.scene.cells))])
        if split_of(replace(item, scene=scene)) == "train":
            break
    wanted = item.question.split()[-1]
    count = sum(wanted in cell.parts for cell in scene.cells)
    return Lesson("", (*show(scene, rng, drawn), item.question), write_answer(str(count)))


def lessons_of(syllabus: Syllabus, drawn: float) -> Teacher:
    def teacher(rng: random.Random, progress: float) -> Lesson:
        if rng.random() < COUNTING_SHARE:
            return count_lesson(rng, drawn)
        return next_lesson(rng, syllabus, drawn, progress)

    return teacher


def reading(rng: random.Random, progress: float) -> Lesson:
    """A picture to transcribe: half of random symbols, half of an item's scene."""
    most = READ_SIZES[min(int(progress * len(READ_SIZES)), len(READ_SIZES) - 1)]
    if most > 2 and rng.random() < 0.5:
        cells = draw_item(rng, rng.randint(1, most // 2)).scene.cells[:most]
        scene = Scene(cells)
    else:
        scene = jumble(rng, rng.randint(2, most))
    return Lesson("", (scene, "read"), write_answer(" ".join(scene.words())))


ABOUT_PICTURES = Syllabus(facts=0, read=0, drill=0.5, options=0, many_steps=0)


def describing(rng: random.Random, progress: float) -> Lesson:
    """Reading alone ties pictures to what copying needs. Names, values and one-step answers are asked too."""
    if rng.random() < READING_SHARE:
        return reading(rng, progress)
    if rng.random() < COUNTING_SHARE:
        return count_lesson(rng, 1.0)
    return next_lesson(rng, ABOUT_PICTURES, 1.0, progress)
