"""What the base model is taught: to read, to know its sums, to answer one-step questions directly."""

import random
from dataclasses import dataclass

from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, write_thought
from xreasoner.miniworld.families.sums import pick_operator
from xreasoner.miniworld.item import Item, Step, arithmetic
from xreasoner.miniworld.problems import CHOICE_SHARE, FAMILIES, choices_of, split_of
from xreasoner.miniworld.scene import Scene
from xreasoner.miniworld.teacher import write_thought as teach
from xreasoner.miniworld.vocabulary import LETTERS

Piece = str | Scene
"""A scene in a prompt is a drawn one; what is written is a string."""

THINK_INSTRUCTION = "think then answer"
FACTS_PER_LESSON = 10
LOOKED_UP = ("bars", "shapes", "labs")


@dataclass(frozen=True)
class Lesson:
    system: str
    prompt: tuple[Piece, ...]
    reply: str
    results_only: bool = False
    """Only the word after each `=` is learned: the operands of a fact are drawn at random."""


@dataclass(frozen=True)
class Syllabus:
    """How often each kind of lesson comes."""

    facts: float = 0.10
    read: float = 0.20
    drill: float = 0.30
    many_steps: float = 0.05
    think: float = 0.5
    """Share of the one-step questions answered after a one-step thought, under the instruction."""
    largest_read: int = 6
    """Scenes to be read have up to so many steps."""


def facts_lesson(rng: random.Random) -> Lesson:
    words: list[str] = []
    for _ in range(FACTS_PER_LESSON):
        total, operand = rng.randint(0, 49), rng.randint(1, 9)
        step = arithmetic(total, pick_operator(rng, total, operand), operand)
        words += [*step.words, step.result, ";"]
    return Lesson("", ("facts",), " ".join(words), results_only=True)


def show(scene: Scene, rng: random.Random, drawn: float) -> tuple[Piece, ...]:
    """The scene written, drawn, or its beginning written and its end drawn."""
    if rng.random() >= drawn:
        return (" ".join(scene.words()),)
    if rng.random() < 0.6 or len(scene.entries) < 2:
        return (scene,)
    cut = rng.randint(1, len(scene.entries) - 1)
    head, tail = scene.part(0, cut), scene.part(cut, len(scene.entries))
    return (" ".join(head.words()), tail)


def draw_item(rng: random.Random, difficulty: int, families: tuple[str, ...] = tuple(FAMILIES)) -> Item:
    """An item of the training split."""
    while True:
        item = FAMILIES[rng.choice(families)](rng, difficulty)
        if split_of(item) == "train":
            return item


def read_lesson(rng: random.Random, drawn: float, largest: int) -> Lesson:
    item = draw_item(rng, rng.randint(1, largest))
    reply = f"{ANSWER_OPEN}{' '.join(item.scene.words())}{ANSWER_CLOSE}"
    return Lesson("", (*show(item.scene, rng, drawn), "read"), reply)


def drill_lesson(rng: random.Random, drawn: float, largest: int) -> Lesson:
    """Several one-step questions in a breath: far more to learn from than one answer at a time."""
    item = draw_item(rng, rng.randint(2, largest), LOOKED_UP)
    steps = [step for step in item.steps if step.words[-1] != "="]
    if item.family != "shapes":  # asked by name: in any order
        rng.shuffle(steps)
    names = item.question.split()[-1] if item.family == "shapes" else " ".join(s.words[0] for s in steps)
    said = [" ".join(found_words(item, step)) for step in steps]
    prompt = (*show(item.scene, rng, drawn), f"say {names}")
    return Lesson("", prompt, f"{ANSWER_OPEN}{' ; '.join(said)}{ANSWER_CLOSE}")


def found_words(item: Item, step: Step) -> tuple[str, ...]:
    """What a step finds by looking, without the count it keeps."""
    return {"bars": (*step.words, step.result), "shapes": step.words, "labs": step.words[:3]}[item.family]


def question_lesson(rng: random.Random, drawn: float, difficulty: int, think: float) -> Lesson:
    item = draw_item(rng, difficulty)
    question, answer = item.question, item.answer
    if rng.random() < CHOICE_SHARE:
        choices, letter = choices_of(item, rng)
        question += "".join(f"\n{name}: {choice}" for name, choice in zip(LETTERS, choices, strict=False))
        answer = f"{letter}: {answer}"
    prompt = (*show(item.scene, rng, drawn), question)
    if rng.random() < think:
        return Lesson(THINK_INSTRUCTION, prompt, write_thought(teach(item, rng), answer))
    return Lesson("", prompt, f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}")


def next_lesson(rng: random.Random, syllabus: Syllabus, drawn: float, progress: float) -> Lesson:
    """`progress` runs from 0 to 1: reading and drills start with small scenes."""
    largest = 2 + round((syllabus.largest_read - 2) * min(1.0, 3 * progress))
    kinds = ("facts", "read", "drill", "many", "one")
    shares = (syllabus.facts, syllabus.read, syllabus.drill, syllabus.many_steps)
    match rng.choices(kinds, (*shares, 1 - sum(shares)))[0]:
        case "facts":
            return facts_lesson(rng)
        case "read":
            return read_lesson(rng, drawn, largest)
        case "drill":
            return drill_lesson(rng, drawn, largest)
        case "many":
            return question_lesson(rng, drawn, rng.randint(2, 5), think=0.0)
        case _:
            return question_lesson(rng, drawn, 1, syllabus.think)
