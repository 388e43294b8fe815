"""Problems: answers are correct, text and image agree, splits are disjoint, seeds repeat."""

import hashlib
import io
import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from xreasoner.miniworld.families.labs import verdict
from xreasoner.miniworld.families.signs import search, ways
from xreasoner.miniworld.item import Item, Split, Step
from xreasoner.miniworld.pictures import drawing
from xreasoner.miniworld.pictures.appearance import Appearance, pick_appearance
from xreasoner.miniworld.problems import (
    FAMILIES,
    make_items,
    make_problems,
    phrase,
    read_problem,
    split_of,
)
from xreasoner.miniworld.scene import CELL, Scene, cell
from xreasoner.miniworld.thoughts import write_brief_thought, write_thought


def stays_inside(start: str, signed: str) -> bool:
    return all(0 <= total <= 39 for total in itertools.accumulate(map(int, (start, *signed.split()))))


def solve(item: Item) -> str:
    """Another way to the answer, from what is seen alone."""
    question, cells = item.question.split(), item.scene.cells
    if item.family == "sums":
        return str(eval(" ".join(cell.word for cell in cells)))
    if item.family == "bars":
        heights = {cell.parts[0]: cell.parts[1] for cell in cells}
        return str(eval(" ".join(heights.get(word, word) for word in question[2:])))
    if item.family == "shapes":
        return str(sum(question[2] in cell.parts for cell in cells))
    if item.family == "signs":
        start, *numbers = [cell.word for cell in cells]
        (found,) = {
            signed
            for signs in itertools.product("+-", repeat=len(numbers))
            if stays_inside(start, signed := " ".join(map("".join, zip(signs, numbers, strict=True))))
            and eval(f"{start} {signed}") == int(question[2])
        }
        return found
    verdicts = [(cell.parts[0], verdict(cell.parts[0], int(cell.parts[1]))) for cell in cells]
    if item.difficulty == 1:
        return dict(verdicts)[question[2]]
    return str(sum(found != "ok" for _, found in verdicts))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("difficulty", [1, 2, 3, 5, 6])
def test_the_answer_is_right_and_the_last_step_says_it(family: str, difficulty: int) -> None:
    for item in make_items(family, (difficulty, difficulty), 50, "train", seed=3):
        assert item.answer == solve(item)
        assert item.steps[-1].result == item.answer
        assert item.difficulty == difficulty


def test_a_search_tries_plus_first_goes_back_and_stops_when_it_is_there() -> None:
    steps: list[Step] = []
    assert search(7, (9, 2), 0, []) is None
    assert search(7, (3, 2), 6, steps) == ("-", "+")
    assert [" ".join((*step.words, step.result)) for step in steps] == [
        "7 +3 = 10", "10 +2 = 12 no", "10 -2 = 8 no", "7 -3 = 4", "4 +2 = 6 yes",
    ]  # fmt: skip
    steps = []
    assert search(1, (3, 2), 6, steps) == ("+", "+") and len(steps) == 2
    assert {one for one, _ in ways(1, (3, 2))} == {("+", "+"), ("+", "-")}  # 1 - 3 is no number here


def test_verdicts_at_the_edges_of_the_range() -> None:
    assert [verdict("na", level) for level in (2, 3, 6, 7)] == ["low", "ok", "ok", "high"]


@pytest.mark.parametrize("family", ["shapes", "labs"])
def test_no_count_is_likelier_than_another(family: str) -> None:
    """Otherwise a model that always says the commonest count would seem to see."""
    answers = Counter(item.answer for item in make_items(family, (3, 3), 700, "train", 0))
    assert set(answers) == {str(count) for count in range(7)}
    assert all(65 < times < 140 for times in answers.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_train_dev_and_test_share_no_problem(family: str) -> None:
    drawn = [
        {item.key for item in make_items(family, (1, 4), count, split, seed)}
        for split, count, seed in (("train", 400, 0), ("dev", 80, 1), ("test", 80, 1))
    ]
    assert len(set.union(*drawn)) == 560


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


@pytest.mark.parametrize(
    ("family", "digest"),
    [
        ("sums", "0cfb27fe96dbfcd1"),
        ("bars", "0c32e269d7ed63a3"),
        ("shapes", "546f87d429a1593e"),
        ("labs", "2cea431e6f0d2403"),
        ("signs", "ec2d2caff6e4fcec"),
    ],
)
def test_every_version_draws_the_same_problems(family: str, digest: str) -> None:
    """Published results name a seed."""
    problems = make_problems(family, "text", (1, 6), 30, "test", seed=0)
    texts = "\n".join(f"{one.question} {one.reasoning} {one.answer} {one.choices}" for one in problems)
    assert hashlib.sha256(texts.encode()).hexdigest()[:16] == digest


def test_options_hold_the_answer_once_and_the_letter_names_it() -> None:
    problems = [p for family in FAMILIES for p in make_problems(family, "text", (1, 4), 60, "train", 0)]
    chosen = [problem for problem in problems if problem.kind == "choice"]
    assert 0.1 < len(chosen) / len(problems) < 0.3
    items = {
        phrase(item, "text", 0).id: item for f in FAMILIES for item in make_items(f, (1, 4), 60, "train", 0)
    }
    for problem in chosen:
        assert len(set(problem.choices)) == len(problem.choices)
        assert problem.choices["ABCD".index(problem.answer)] == items[problem.id].answer


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_has_one_cell_a_word_and_something_is_drawn_in_each(family: str) -> None:
    item = make_items(family, (3, 3), 1, "test", 0)[0]
    picture = phrase(item, "image", 0).pictures[0]
    image = Image.open(io.BytesIO(picture.encoded))
    count = len(item.scene.words())
    assert image.size == (count * CELL, CELL)
    for x in range(count):
        cell = image.crop((x * CELL, 0, (x + 1) * CELL, CELL))
        assert cell.convert("L").getextrema()[0] < 200


def test_pictures_have_looks_of_the_split_of_their_item(monkeypatch: pytest.MonkeyPatch) -> None:
    splits: list[str] = []

    def noted(rng: random.Random, split: Split) -> Appearance:
        splits.append(split)
        return pick_appearance(rng, split)

    monkeypatch.setattr(drawing, "pick_appearance", noted)
    for split in ("train", "dev", "test"):
        make_problems("bars", "image", (2, 2), 2, split, 0)
        read_problem(make_items("labs", (2, 2), 1, split, 0)[0], "image", 0)
    assert splits == ["train"] * 3 + ["dev"] * 3 + ["test"] * 3


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


def test_a_brief_thought_states_the_result_without_the_work() -> None:
    item = Item("sums", "general", 2, Scene((cell("glyph", "39"), cell("glyph", "-8"))), "work out", (), "31")
    assert write_brief_thought(item) == "39 -8 so say 31 ;"
    assert write_brief_thought(item, ("30", "31")) == "39 -8 so say 31 ; A: 30 = 31 no ; B: 31 = 31 yes ;"


def test_a_share_of_the_thoughts_is_brief_and_nothing_else_changes() -> None:
    items = make_items("bars", (2, 3), 400, "train", 0)
    mixed = [phrase(item, "text", 0, brief_share=0.6) for item in items]
    worked = [phrase(item, "text", 0) for item in items]
    briefs = [" say " in problem.reasoning for problem in mixed]
    assert 0.5 < sum(briefs) / len(briefs) < 0.7
    for problem, same, is_brief in zip(mixed, worked, briefs, strict=True):
        assert (problem.reasoning != same.reasoning) == is_brief
        assert replace(problem, reasoning="") == replace(same, reasoning="")


def test_reading_asks_for_what_is_written() -> None:
    item = make_items("shapes", (1, 1), 1, "test", 0)[0]
    problem = read_problem(item, "image", 0)
    assert problem.answer == " ".join(item.scene.words())
    assert problem.tags == {"family": "shapes", "steps": 0}


def test_an_unknown_family_and_too_many_items_are_said_plainly() -> None:
    with pytest.raises(ValueError, match="no family 'sudoku'; families: sums, bars, shapes, labs"):
        make_items("sudoku", (1, 1), 1, "train", 0)
    with pytest.raises(ValueError, match="different test items of 1-1 steps exist, 5000 were asked for"):
        make_items("sums", (1, 1), 5000, "test", 0)
