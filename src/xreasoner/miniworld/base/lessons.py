"""The lessons of the base model: reading, arithmetic facts, and direct answers to one-step questions."""

import random
from dataclasses import dataclass, replace

from xreasoner.chat.template import option_lines
from xreasoner.chat.think import write_answer, write_thought
from xreasoner.miniworld.families.labs import verdict
from xreasoner.miniworld.families.shapes import make_shapes
from xreasoner.miniworld.families.sums import pick_operator
from xreasoner.miniworld.item import Item, arithmetic
from xreasoner.miniworld.lexicon import LARGEST, NUMBERS, OPERATORS, OPTION_NAMES
from xreasoner.miniworld.problems import CHOICE_SHARE, FAMILIES, TAUGHT, choices_of, split_of, write_scene
from xreasoner.miniworld.scene import Cell, Scene, alphabet
from xreasoner.miniworld.thoughts import go_through
from xreasoner.miniworld.thoughts import write_thought as teach

PromptPart = str | Scene
"""A Scene is drawn; text is a string."""

THINK_INSTRUCTION = "think then answer"
FACTS_PER_LESSON = 10
CELLS = alphabet()
MOST_DRILLED = 4
"""Most steps of a drill; with more, a name would occur twice among the readings."""
MOST_DRAWN, MOST_BETWEEN = 12, 40
"""Most cells of a picture, and of a scene that a thought restates before it goes through options."""
LOOKED_UP = ("bars", "shapes", "labs")


@dataclass(frozen=True)
class Lesson:
    system: str
    prompt: tuple[PromptPart, ...]
    reply: str
    results_only: bool = False
    """Only the word after each `=` is a target: the operands of a fact are random."""


@dataclass(frozen=True)
class Syllabus:
    """The probabilities of the kinds of lessons."""

    facts: float = 0.10
    read: float = 0.20
    drill: float = 0.25
    options: float = 0.10
    restate: float = 0.0
    """Fraction of the readings and drills that are asked for with a thought, which restates the scene and no
    more. Without, only short scenes are restated in thoughts; after SFT on text, the model repeats the last
    symbol of a longer drawn one."""
    count: float = 0.0
    sums: float = 0.0
    """Of one step: their results are facts, which need more lessons than looking up does."""
    think: float = 0.4
    """Fraction of the one-step questions without options that are answered with a one-step thought."""
    choices: float = CHOICE_SHARE
    """Fraction of the one-step questions that have options."""
    think_with_options: float = 0.4
    """The same fraction of those with options."""
    far_options: float = 0.0
    """Fraction of the lessons on options with a scene before them, which a thought restates. Without, options
    are looked up at short distances alone; after SFT, long thoughts take one option for another."""
    no_option: float = 0.0
    """Fraction of the questions after an option that none of them answers. Without, the last one need not be
    looked up: it is right if none before it was."""
    largest_read: int = 6
    """Most steps of a scene to read."""


def facts_lesson(rng: random.Random) -> Lesson:
    words: list[str] = []
    for _ in range(FACTS_PER_LESSON):
        total, operand = rng.randint(0, LARGEST), rng.randint(1, 9)
        step = arithmetic(total, pick_operator(rng, total, operand), operand)
        words += [*step.words, step.result, ";"]
    return Lesson("", ("facts",), " ".join(words), results_only=True)


def show(scene: Scene, rng: random.Random, drawn: float) -> tuple[PromptPart, ...]:
    """The scene as text, as an image, or its first part as text and the rest as an image."""
    if rng.random() >= drawn:
        return (write_scene(scene),)
    if rng.random() < 0.6 or len(scene.cells) < 2:
        return (scene,)
    cut = rng.randint(1, len(scene.cells) - 1)
    return (f"[ {' '.join(scene.words()[:cut])}", Scene(scene.cells[cut:]))


def draw_item(rng: random.Random, difficulty: int, families: tuple[str, ...] = TAUGHT) -> Item:
    """An item of the training split."""
    while True:
        item = FAMILIES[rng.choice(families)](rng, difficulty)
        if split_of(item) == "train":
            return item


def read_lesson(rng: random.Random, drawn: float, largest: int, restate: float = 0.0) -> Lesson:
    """Half of the scenes are random cells, which can only be read one by one."""
    sense = rng.random() < 0.5
    scene = (
        draw_item(rng, rng.randint(1, largest)).scene if sense else jumble(rng, rng.randint(2, 2 * largest))
    )
    words, prompt = " ".join(scene.words()), (*show(scene, rng, drawn), "read")
    return answered(rng, scene, prompt, words, restate)


def answered(
    rng: random.Random, scene: Scene, prompt: tuple[PromptPart, ...], answer: str, restate: float
) -> Lesson:
    """This share is asked for with a thought, which restates the scene."""
    if restate and rng.random() < restate:
        return Lesson(THINK_INSTRUCTION, prompt, write_thought(restated(scene), answer))
    return Lesson("", prompt, write_answer(answer))


def restated(scene: Scene) -> str:
    return f"{' '.join(scene.words())} so"


def jumble(rng: random.Random, size: int) -> Scene:
    return Scene(tuple(rng.sample(CELLS, size)))


def drill_lesson(rng: random.Random, drawn: float, largest: int, restate: float = 0.0) -> Lesson:
    """Several one-step questions in one lesson, which gives more targets per lesson."""
    item = draw_item(rng, rng.randint(2, min(largest, MOST_DRILLED)), LOOKED_UP)
    cells = list(item.scene.cells)
    if item.family == "shapes":  # each cell in order
        names = [item.question.split()[-1]]
    else:  # by name, in any order
        rng.shuffle(cells)
        names = [cell.parts[0] for cell in cells]
    said = [f"{cell.word} {judged(item, cell)}" for cell in cells]
    if item.family == "bars" and rng.random() < 0.5:  # with a sign
        signs = rng.choices(OPERATORS, k=len(cells))
        names = [f"{sign} {name}" for sign, name in zip(signs, names, strict=True)]
        said = [f"{sign} {cell.word} {sign}{cell.parts[1]}" for sign, cell in zip(signs, cells, strict=True)]
    prompt = (*show(item.scene, rng, drawn), f"say {' '.join(names)}")
    return answered(rng, item.scene, prompt, " ; ".join(said), restate)


def judged(item: Item, cell: Cell) -> str:
    """The answer about one cell."""
    match item.family:
        case "bars":
            return cell.parts[1]
        case "shapes":
            return "yes" if item.question.split()[-1] in cell.parts else "no"
        case _:
            return verdict(cell.parts[0], int(cell.parts[1]))


def options_lesson(rng: random.Random, drawn: float, far: float, absent: float) -> Lesson:
    """What each option says, or which of them says a number, if any does; some after a scene that a thought
    restates first."""
    numbers = [str(number) for number in rng.sample(range(LARGEST + 1), len(OPTION_NAMES))]
    named = list(zip(OPTION_NAMES, numbers, strict=True))
    if rng.random() < 0.5:
        name, number = rng.choice(named)
        answer = f"{name} {number}"
        if absent and rng.random() < absent:
            others = [other for other in NUMBERS[: LARGEST + 1] if other not in numbers]
            number, answer = rng.choice(others), "no"
        question, thought = f"what is {number}", go_through(number, numbers)
    else:
        asked = rng.sample(named, len(named))
        question, thought = f"say {' '.join(name for name, _ in asked)}", []
        answer = " ; ".join(f"{name} {number}" for name, number in asked)
    options = f"options {''.join(option_lines(numbers))}"
    prompt: tuple[PromptPart, ...] = (f"{options} {question}",)
    if far and rng.random() < far:
        scene = jumble(rng, rng.randint(2, MOST_BETWEEN))
        drawn = drawn if len(scene.cells) <= MOST_DRAWN else 0.0
        prompt = (*show(scene, rng, drawn), f"{question} {options}")
        thought = [restated(scene), *thought]
    if thought:
        return Lesson(THINK_INSTRUCTION, prompt, write_thought(" ".join(thought), answer))
    return Lesson("", prompt, write_answer(answer))


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


def question_lesson(
    rng: random.Random, drawn: float, syllabus: Syllabus, families: tuple[str, ...] = TAUGHT
) -> Lesson:
    item = draw_item(rng, 1, families)
    as_choice = rng.random() < syllabus.choices
    choices, letter = choices_of(item, rng) if as_choice else ((), "")
    answer = f"{letter}: {item.answer}" if as_choice else item.answer
    prompt = (*show(item.scene, rng, drawn), "".join((item.question, *option_lines(choices))))
    if rng.random() < (syllabus.think_with_options if as_choice else syllabus.think):
        return Lesson(THINK_INSTRUCTION, prompt, write_thought(teach(item, rng, choices), answer))
    return Lesson("", prompt, write_answer(answer))


def next_lesson(rng: random.Random, syllabus: Syllabus, drawn: float, progress: float) -> Lesson:
    """`progress` goes from 0 to 1; reading and drills start with small scenes."""
    largest = 2 + round((syllabus.largest_read - 2) * min(1.0, 3 * progress))
    kinds = ("facts", "read", "drill", "options", "count", "sums", "one")
    shares = (
        *(syllabus.facts, syllabus.read, syllabus.drill, syllabus.options, syllabus.count),
        syllabus.sums,
    )
    match rng.choices(kinds, (*shares, 1 - sum(shares)))[0]:
        case "facts":
            return facts_lesson(rng)
        case "read":
            return read_lesson(rng, drawn, largest, syllabus.restate)
        case "drill":
            return drill_lesson(rng, drawn, largest, syllabus.restate)
        case "options":
            return options_lesson(rng, drawn, syllabus.far_options, syllabus.no_option)
        case "count":
            return count_lesson(rng, drawn)
        case "sums":
            return question_lesson(rng, drawn, syllabus, ("sums",))
        case _:
            return question_lesson(rng, drawn, syllabus)
