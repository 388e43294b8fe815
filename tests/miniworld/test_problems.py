"""The world is honest: answers are right, views agree, splits are disjoint, the same seed repeats."""

import io
import random

import pytest
from PIL import Image

from xreasoner.miniworld.draw import CELL
from xreasoner.miniworld.families.labs import verdict
from xreasoner.miniworld.item import Item
from xreasoner.miniworld.problems import (
    FAMILIES,
    item_key,
    make_items,
    make_problems,
    phrase,
    read_problem,
    split_of,
)
from xreasoner.miniworld.teacher import write_thought


def solve(item: Item) -> str:
    """Another way to the answer, from what is seen alone."""
    words, question = item.scene.words(), item.question.split()
    if item.family == "sums":
        return str(eval(" ".join(words)))
    rows = [[word for cell in entry for word in cell.words] for entry in item.scene.entries]
    if item.family == "bars":
        heights = dict(rows)
        return str(eval(" ".join(heights.get(word, word) for word in question[2:])))
    if item.family == "shapes":
        return str(sum(question[2] in row for row in rows))
    verdicts = {name: verdict(int(value), int(low), int(high)) for name, value, low, high in rows}
    if item.difficulty == 1:
        return verdicts[question[2]]
    return str(sum(found != "ok" for found in verdicts.values()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("difficulty", [1, 2, 3, 5, 6])
def test_the_answer_is_right_and_the_last_step_says_it(family: str, difficulty: int) -> None:
    for item in make_items(family, (difficulty, difficulty), 50, "train", seed=3):
        assert item.answer == solve(item)
        assert item.steps[-1].result == item.answer
        assert item.difficulty == difficulty


def test_verdicts_at_the_edges_of_the_range() -> None:
    assert [verdict(value, 5, 9) for value in (4, 5, 9, 10)] == ["low", "ok", "ok", "high"]


@pytest.mark.parametrize("family", FAMILIES)
def test_train_and_test_share_no_problem(family: str) -> None:
    train = {item_key(item) for item in make_items(family, (1, 4), 400, "train", seed=0)}
    test = {item_key(item) for item in make_items(family, (1, 4), 80, "test", seed=1)}
    assert len(train) == 400 and len(test) == 80
    assert not train & test


def test_the_split_belongs_to_the_item_and_not_to_the_seed() -> None:
    for seed in range(3):
        assert {split_of(item) for item in make_items("bars", (2, 3), 60, "test", seed)} == {"test"}


@pytest.mark.parametrize("family", FAMILIES)
def test_two_views_of_an_item_differ_only_in_what_is_shown(family: str) -> None:
    written = make_problems(family, "text", (2, 4), 30, "test", seed=5)
    drawn = make_problems(family, "image", (2, 4), 30, "test", seed=5)
    for a, b in zip(written, drawn, strict=True):
        assert (a.item, a.answer, a.choices, a.reasoning) == (b.item, b.answer, b.choices, b.reasoning)
        assert a.id != b.id
        assert not a.pictures and len(b.pictures) == 1


def test_the_same_seed_gives_the_same_problems_to_the_byte() -> None:
    assert make_problems("labs", "image", (1, 4), 20, "test", 7) == make_problems(
        "labs", "image", (1, 4), 20, "test", 7
    )
    assert make_problems("labs", "image", (1, 4), 20, "test", 7) != make_problems(
        "labs", "image", (1, 4), 20, "test", 8
    )


def test_options_hold_the_answer_once_and_the_letter_names_it() -> None:
    problems = [p for family in FAMILIES for p in make_problems(family, "text", (1, 4), 60, "train", 0)]
    chosen = [problem for problem in problems if problem.kind == "choice"]
    assert 0.15 < len(chosen) / len(problems) < 0.45
    items = {
        phrase(item, "text", 0).id: item for f in FAMILIES for item in make_items(f, (1, 4), 60, "train", 0)
    }
    for problem in chosen:
        assert len(set(problem.choices)) == len(problem.choices)
        assert problem.choices["ABCD".index(problem.answer)] == items[problem.id].answer


def test_a_picture_has_one_cell_a_symbol_and_something_is_drawn_in_each() -> None:
    item = make_items("labs", (3, 3), 1, "test", 0)[0]
    picture = phrase(item, "image", 0).pictures[0]
    image = Image.open(io.BytesIO(picture.encoded))
    assert image.size == (4 * CELL, 3 * CELL)
    for y in range(3):
        for x in range(4):
            cell = image.crop((x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL))
            assert cell.convert("L").getextrema()[0] < 100


def test_the_teacher_slips_now_and_then_and_always_mends_it() -> None:
    rng = random.Random(0)
    items = make_items("sums", (4, 4), 300, "train", 0)
    thoughts = [write_thought(item, rng) for item in items]
    slipped = [(item, thought) for item, thought in zip(items, thoughts, strict=True) if "wait" in thought]
    assert 0 < len(slipped) < 75
    for item, thought in zip(items, thoughts, strict=True):
        assert thought.split()[-2] == item.answer
    for _, thought in slipped:
        before, after = thought.split(" ; wait ")[:2]
        wrong, mended = before.split()[-1], after.split(" ;")[0]
        left, result = mended.split(" = ")
        assert eval(left) == int(result) != int(wrong)


def test_reading_asks_for_what_is_written() -> None:
    item = make_items("shapes", (1, 1), 1, "test", 0)[0]
    problem = read_problem(item, "image", 0)
    assert problem.answer == " ".join(item.scene.words())
    assert problem.tags == {"family": "shapes", "steps": 0}


def test_an_unknown_family_and_too_many_items_are_said_plainly() -> None:
    with pytest.raises(ValueError, match="no family 'sudoku'; there are sums, bars, shapes, labs"):
        make_items("sudoku", (1, 1), 1, "train", 0)
    with pytest.raises(ValueError, match="different test items of 1-1 steps exist, 5000 were asked for"):
        make_items("sums", (1, 1), 5000, "test", 0)
