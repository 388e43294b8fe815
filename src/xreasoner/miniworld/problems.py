"""Problems of the mini-world by family, modality, difficulty and split; deterministic in the seed."""

import hashlib
import random
from collections.abc import Callable, Iterator

from xreasoner.miniworld.families.bars import make_bars
from xreasoner.miniworld.families.labs import make_labs
from xreasoner.miniworld.families.shapes import make_shapes
from xreasoner.miniworld.families.signs import make_signs, other_signs
from xreasoner.miniworld.families.sums import make_sum
from xreasoner.miniworld.item import Item, Split
from xreasoner.miniworld.lexicon import ANSWER_LETTERS, VERDICTS
from xreasoner.miniworld.pictures.drawing import draw_picture, encode_picture
from xreasoner.miniworld.pictures.worlds import QUICKSTART
from xreasoner.miniworld.scene import Scene
from xreasoner.miniworld.thoughts import write_brief_thought, write_thought
from xreasoner.records import Modality, Part, Picture, Problem

FAMILIES: dict[str, Callable[[random.Random, int], Item]] = {
    "sums": make_sum,
    "bars": make_bars,
    "shapes": make_shapes,
    "labs": make_labs,
    "signs": make_signs,
}
GENERAL = ("sums", "bars", "shapes")
CLINICAL = ("labs",)
TAUGHT = (*GENERAL, *CLINICAL)
"""Families of the base's lessons. It has never met the others."""
CHOICE_SHARE = 0.2
TEST_SHARE = 10
"""One item in this many belongs to the test split, whatever the seed, and as many to the dev split."""

MOST_DRAWS = 20_000
"""Without a new item: then there are hardly more."""


def split_of(item: Item) -> Split:
    digest = hashlib.sha256(item.key.encode()).digest()
    splits: dict[int, Split] = {0: "test", 1: "dev"}
    return splits.get(digest[0] % TEST_SHARE, "train")


def make_items(family: str, steps: tuple[int, int], count: int, split: Split, seed: int) -> list[Item]:
    """`count` different items of a split, with difficulties spread evenly over `steps`, ends included."""
    if family not in FAMILIES:
        raise ValueError(f"mini-world: no family {family!r}; families: {', '.join(FAMILIES)}")
    rng = random.Random(f"{family} {split} {seed}")
    return list(_distinct(FAMILIES[family], steps, count, split, rng))


def _distinct(
    make: Callable[[random.Random, int], Item],
    steps: tuple[int, int],
    count: int,
    split: Split,
    rng: random.Random,
) -> Iterator[Item]:
    seen, in_vain, low, high = set[str](), 0, *steps
    while len(seen) < count:
        in_vain += 1
        if in_vain > MOST_DRAWS:
            raise ValueError(
                f"mini-world: only {len(seen)} different {split} items of {low}-{high} steps exist, "
                f"{count} were asked for; ask for fewer or for more steps"
            )
        item = make(rng, low + len(seen) % (high - low + 1))
        if item.key not in seen and split_of(item) == split:
            seen.add(item.key)
            in_vain = 0
            yield item


def wrong_answers(item: Item, rng: random.Random) -> list[str]:
    """Three plausible wrong answers."""
    if item.answer in VERDICTS:
        return [verdict for verdict in VERDICTS if verdict != item.answer]
    if item.family == "signs":
        return rng.sample(other_signs(item.answer), 3)
    near = {abs(int(item.answer) + shift) for shift in (-3, -2, -1, 1, 2, 3, 4)} - {int(item.answer)}
    return [str(number) for number in rng.sample(sorted(near), 3)]


def choices_of(item: Item, rng: random.Random) -> tuple[tuple[str, ...], str]:
    """The shuffled options, and the letter of the right one."""
    options = [item.answer, *wrong_answers(item, rng)]
    rng.shuffle(options)
    return tuple(options), ANSWER_LETTERS[options.index(item.answer)]


def question_parts(item: Item, view: Modality, rng: random.Random) -> tuple[Part, ...]:
    if view == "image":
        return (picture_of(item, rng), item.question)
    return (f"{write_scene(item.scene)} {item.question}",)


def picture_of(item: Item, rng: random.Random) -> Picture:
    """In a look of the item's split: fonts, sizes and colours of test items are in no lesson."""
    return encode_picture(draw_picture(item.scene, QUICKSTART, rng, split_of(item)))


def write_scene(scene: Scene) -> str:
    """The scene between brackets, as an image is between vision tokens."""
    return f"[ {' '.join(scene.words())} ]"


def phrase(
    item: Item, view: Modality, seed: int, choice_share: float = CHOICE_SHARE, brief_share: float = 0.0
) -> Problem:
    """The problem as text or image; options and thought are the same for both."""
    rng = random.Random(f"{item.key} {seed}")
    as_choice = rng.random() < choice_share
    choices, letter = choices_of(item, rng) if as_choice else ((), "")
    is_brief = random.Random(f"brief {item.key} {seed}").random() < brief_share
    thought = write_brief_thought(item, choices) if is_brief else write_thought(item, rng, choices)
    key = hashlib.sha256(item.key.encode()).hexdigest()[:12]
    return Problem(
        id=f"{item.family}-{key}-{view}",
        item=f"{item.family}-{key}",
        question=question_parts(item, view, rng),
        answer=letter or item.answer,
        kind="choice" if as_choice else "exact",
        choices=choices,
        domain=item.domain,
        source="miniworld",
        reasoning=thought,
        tags={"family": item.family, "steps": item.difficulty},
    )


def make_problems(
    family: str, view: Modality, steps: tuple[int, int], count: int, split: Split, seed: int
) -> list[Problem]:
    return [phrase(item, view, seed) for item in make_items(family, steps, count, split, seed)]


def read_problem(item: Item, view: Modality, seed: int) -> Problem:
    """A perception problem: write down what is shown."""
    rng = random.Random(f"read {item.key} {seed}")
    words = " ".join(item.scene.words())
    shown: Part = picture_of(item, rng) if view == "image" else write_scene(item.scene)
    key = hashlib.sha256(words.encode()).hexdigest()[:12]
    return Problem(
        id=f"read-{item.family}-{key}-{view}",
        item=f"read-{item.family}-{key}",
        question=(shown, " read"),
        answer=words,
        kind="exact",
        domain=item.domain,
        source="miniworld",
        reasoning="",
        tags={"family": item.family, "steps": 0},
    )
