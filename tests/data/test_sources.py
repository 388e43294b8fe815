"""From recipe entries to problems to train on: tables of the user's own, seeds, and leaks."""

import json
from collections import Counter
from pathlib import Path

import pytest

from xreasoner.data.problem_store import problems_fingerprint
from xreasoner.data.sources import refuse_leaks, split_held_out, training_problems
from xreasoner.miniworld.problems import CHOICE_SHARE
from xreasoner.recipe.training_data import JsonlData, MiniworldData
from xreasoner.records import Problem

TRAIN = MiniworldData(source="miniworld", families=("sums", "bars"), steps=(1, 3), count=30)


def table(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, **changes) -> list[Problem]:
    return training_problems([JsonlData(source="jsonl", path=path, **changes)], seed=0)


def test_training_is_text_from_the_training_split() -> None:
    problems = training_problems([TRAIN], seed=3)
    assert Counter(problem.tags["family"] for problem in problems) == {"sums": 30, "bars": 30}
    assert not any(problem.pictures for problem in problems)
    assert all(problem.reasoning for problem in problems)


def test_short_answers_and_reading_have_no_thought_and_ids_of_their_own() -> None:
    plain = training_problems([TRAIN.model_copy(update={"thoughts": False})], seed=3)
    reading = training_problems([TRAIN.model_copy(update={"task": "read"})], seed=3)
    solved = {problem.id: problem for problem in training_problems([TRAIN], seed=3)}
    assert {problem.reasoning for problem in (*plain, *reading)} == {""}
    assert {problem.id.removesuffix("-plain") for problem in plain} == set(solved)
    assert not {problem.id for problem in (*plain, *reading)} & set(solved)
    for problem in reading:
        assert problem.question == (f"[ {problem.answer} ]", " read")


def test_choices_is_the_share_of_problems_with_options() -> None:
    def kinds(entry: MiniworldData) -> Counter[tuple[str, int]]:
        return Counter((p.kind, len(p.choices)) for p in training_problems([entry], seed=0))

    assert kinds(TRAIN.model_copy(update={"choices": 0.0})) == {("exact", 0): 60}
    assert kinds(TRAIN.model_copy(update={"choices": 1.0})) == {("choice", 4): 60}
    assert TRAIN.choices == CHOICE_SHARE, "that of benchmarks"
    many = kinds(TRAIN.model_copy(update={"count": 500}))
    assert abs(many["choice", 4] - 200) < 50 and many.total() == 1000, "four standard deviations"


def test_brief_is_the_share_of_thoughts_without_the_work() -> None:
    shares = []
    for brief in (0.0, 0.6, 1.0):
        problems = training_problems([TRAIN.model_copy(update={"brief": brief, "count": 200})], seed=0)
        shares.append(sum(" so say " in problem.reasoning for problem in problems) / len(problems))
    assert (shares[0], shares[2]) == (0, 1) and 0.5 < shares[1] < 0.7


def test_a_problem_drawn_by_two_entries_is_trained_on_once() -> None:
    problems = training_problems([TRAIN, TRAIN], seed=0)
    assert len({problem.id for problem in problems}) == len(problems) > 60


def test_seeds_change_what_is_drawn() -> None:
    prints = {problems_fingerprint(training_problems([TRAIN], seed)) for seed in (0, 0, 1)}
    assert len(prints) == 2


def test_rows_become_problems(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        {"question": "2+2?", "answer": 4, "reasoning": "two and two"},
        {"question": "Which?", "choices": ["no", "yes"], "answer": "yes", "id": "w"},
        {"question": "Which?", "choices": {"A": "no", "B": "yes", "C": "maybe"}, "answer": "c"},
    )
    sums, by_text, by_letter = read(path, domain="mine")
    assert (sums.id, sums.kind, sums.answer, sums.reasoning) == ("mine-1", "math", "4", "two and two")
    assert (by_text.id, by_text.kind, by_text.answer, by_text.choices) == (
        "mine-w",
        "choice",
        "B",
        ("no", "yes"),
    )
    assert (by_letter.answer, by_letter.choices) == ("C", ("no", "yes", "maybe"))
    assert {problem.domain for problem in (sums, by_text, by_letter)} == {"mine"}


def test_columns_and_kind_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, {"q": "Say x", "truth": "x"}, {"q": "Say y", "truth": "y"})
    (problem,) = read(path, columns={"question": "q", "answer": "truth"}, kind="exact", limit=1)
    assert (problem.question, problem.answer, problem.kind) == (("Say x",), "x", "exact")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"answer": "1", "q": "?"},
            "mine.jsonl:1: no column 'question': it has answer, q",
        ),
        ({"question": "?", "answer": " "}, "mine.jsonl:1: answer is empty"),
        (
            {"question": "?", "answer": "z", "choices": ["a", "b"]},
            "mine.jsonl:1: the answer is not an option: 'z'",
        ),
        ({"question": "?", "answer": "a", "choices": "ab"}, "options are neither a list nor a mapping"),
        (
            {"question": "?", "answer": "a", "image": "gone.png"},
            "mine.jsonl:1: has an image: training is text",
        ),
        (["question"], "mine.jsonl:1: not an object: it is a list"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(table(tmp_path, row))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_share_an_id_stop_with_both_lines(tmp_path: Path) -> None:
    """They became one problem."""
    path = table(tmp_path, *({"question": f"{n}?", "answer": "1", "id": "x"} for n in range(20)))
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:2: its id 'mine-x' is that of another row: {path}:1"


def test_no_row_vanishes(tmp_path: Path) -> None:
    same = {"question": "a?", "answer": "1", "id": "x"}
    path = table(tmp_path, same, {"question": "b?", "answer": "1", "id": None}, same, same)
    assert [(p.id, p.question) for p in read(path)] == [
        ("mine-x", ("a?",)),
        ("mine-2", ("b?",)),
        ("mine-x-2", ("a?",)),
        ("mine-x-3", ("a?",)),
    ]
    (tmp_path / "other").mkdir()
    other = table(tmp_path / "other", {"question": "c?", "answer": "1", "id": "x"})
    entries = [JsonlData(source="jsonl", path=one) for one in (path, other)]
    assert [p.id for p in training_problems(entries, seed=0)][4:] == ["mine.2-x"]


def test_ids_are_texts_or_whole_numbers(tmp_path: Path) -> None:
    assert [p.id for p in read(table(tmp_path, {"question": "a?", "answer": "1", "id": 0}))] == ["mine-0"]
    for odd in ([1], {"a": 1}, True, 1.5):
        with pytest.raises(ValueError, match=r"mine\.jsonl:1: id is neither a text nor a whole number"):
            read(table(tmp_path, {"question": "a?", "answer": "1", "id": odd}))


def test_a_folder_is_not_a_file_of_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder"):
        read(tmp_path)


def test_a_question_that_is_also_a_test_is_refused(tmp_path: Path) -> None:
    problems = read(table(tmp_path, {"question": "a", "answer": "1"}, {"question": "b", "answer": "2"}))
    refuse_leaks(problems[:1], {"test": problems[1:]})
    with pytest.raises(ValueError, match="training problem mine-2 is also a question of the benchmark test"):
        refuse_leaks(problems, {"test": problems[1:]})


def test_held_out_problems_are_not_trained_on() -> None:
    problems = training_problems([TRAIN], seed=0)
    trained, held_out = split_held_out(problems, 10, seed=0)
    assert len(held_out) == 10
    assert sorted(problem.id for problem in trained + held_out) == sorted(problem.id for problem in problems)
    assert split_held_out(problems, 10, seed=1)[1] != held_out
    assert split_held_out(problems, 0, seed=0) == (problems, ())
    with pytest.raises(ValueError, match="held_out: 60 of 60 problems leaves none to train on"):
        split_held_out(problems, 60, seed=0)
