"""The corpora in their true schemas: the problem of each good row, the reason for each bad one."""

from pathlib import Path
from typing import Any

import pytest
from tests.data import true_schemas as schemas

from xreasoner.data.candidates import Candidate
from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.left_out import LeftOut
from xreasoner.recipe.training_data import (
    CorpusData,
    Gsm8kData,
    MedqaData,
    OpenThoughtsData,
    OrzMathData,
    TableData,
)
from xreasoner.records import Problem


def thoughts(path: Path, **changes: Any) -> OpenThoughtsData:
    return OpenThoughtsData(source="openthoughts", path=str(path), max_bad_rows=1.0, **changes)


def problems(entry: CorpusData) -> list[Problem]:
    found = list(read_corpus(entry))
    assert all(isinstance(one, Candidate) for one in found), found
    return [one.problem for one in found if isinstance(one, Candidate)]


def reasons(entry: CorpusData) -> dict[int, str]:
    """By row number."""
    left_out = [one for one in read_corpus(entry) if isinstance(one, LeftOut)]
    return {
        int("".join(filter(str.isdigit, one.position.rpartition(".")[2]))): one.reason for one in left_out
    }


GOOD = schemas.chain("What is 2 + 2?", "Two and two.\nFour.", "It is \\boxed{4}.")


def test_openthoughts_marks_become_ours(tmp_path: Path) -> None:
    (problem,) = problems(thoughts(schemas.write_parquet(tmp_path / "t.parquet", [GOOD])))
    assert problem.question == ("What is 2 + 2?",)
    assert problem.reasoning == "Two and two.\nFour."
    assert problem.answer == "It is \\boxed{4}."
    assert (problem.kind, problem.source, problem.id) == ("math", "openthoughts", "openthoughts-000001")


def test_openthoughts_with_the_final_answer_alone(tmp_path: Path) -> None:
    code = schemas.chain("Write it.", "Hm.", "```python\nprint(1)\n```")
    path = schemas.write_jsonl(tmp_path / "t.jsonl", [GOOD, code])
    assert [p.answer for p in problems(thoughts(path, answers="final"))] == ["4", "```python\nprint(1)\n```"]


def test_openthoughts_metadata_knows_domain_and_truth(tmp_path: Path) -> None:
    rows = [
        schemas.raw_chain("2 + 2?", "Four.", "So \\boxed{4}", "By counting, $\\boxed{4}$."),
        schemas.raw_chain("1/2?", "Half.", "So \\boxed{0.5}", "\\frac{1}{2}"),
        schemas.raw_chain("Prove it.", "Hm.", "Done.", "A long proof.\nWith lines."),
        schemas.raw_chain("Write it.", "Hm.", "print(1)", "x", domain="code") | {"starter_code": "def f():"},
    ]
    path = schemas.write_parquet(tmp_path / "metadata" / "train-0.parquet", rows).parent.parent
    found = list(read_corpus(thoughts(path, config="metadata", domains=("math",))))
    assert [one.truth for one in found[:3]] == ["4", "\\frac{1}{2}", ""]
    assert isinstance(found[3], LeftOut)
    assert (found[3].reason, found[3].detail, found[3].is_bad) == ("another domain", "code", False)
    (code,) = [p for p in problems(thoughts(path, config="metadata")) if p.domain == "code"]
    assert code.question == ("Write it.\n\ndef f():",)


UGLY: list[tuple[Any, str]] = [
    ({"system": "s"}, "no column 'conversations'"),
    ({"conversations": None}, "not one question and one reply"),
    ({"conversations": [{"from": "user", "value": "q"}]}, "not one question and one reply"),
    ({"conversations": [{"from": "user"}, {"from": "assistant", "value": "a"}]}, "no column 'value'"),
    (schemas.chain("", "a thought", "s"), "value is empty"),
    (schemas.chain("q", "", "s"), "empty thought"),
    (schemas.chain("q", "  \n ", "s"), "empty thought"),
    (schemas.chain("q", "a thought", ""), "empty solution"),
    (schemas.chain("q", "a <|begin_of_thought|> b", "s"), "unbalanced marks"),
    (schemas.chain("q", "a <|end_of_thought|> b", "s"), "unbalanced marks"),
    (schemas.chain("q", "a", "s <|begin_of_solution|>"), "unbalanced marks"),
    (schemas.chain("q", "a </think> b", "s"), "tag in the thought"),
    (schemas.chain("q", "broken \ud83d half", "s"), "not valid Unicode"),
    (["q", "a"], "not an object"),
    (b'{"conversations": [', "not JSON"),
    (b'{"system": "caf\xe9"}', "not UTF-8"),
]


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_each_ugly_row_gets_its_reason(tmp_path: Path, ending: str) -> None:
    # In a list, what is not JSON stops: the rows after it cannot be found.
    ugly = [case for case in UGLY if ending == "jsonl" or case[1] != "not JSON"]
    rows = [GOOD, *(row for row, _ in ugly)]
    write = schemas.write_jsonl if ending == "jsonl" else schemas.write_json
    found = reasons(thoughts(write(tmp_path / f"t.{ending}", rows)))
    assert found == {number: reason for number, (_, reason) in enumerate(ugly, start=2)}


def test_a_solution_within_the_thought_is_unbalanced(tmp_path: Path) -> None:
    reply = "<|begin_of_thought|> a <|begin_of_solution|> s <|end_of_thought|> b <|end_of_solution|>"
    row = {"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": reply}]}
    (left_out,) = read_corpus(thoughts(schemas.write_jsonl(tmp_path / "t.jsonl", [row])))
    assert isinstance(left_out, LeftOut)
    assert (left_out.reason, left_out.detail) == (
        "unbalanced marks",
        "the solution starts inside the thought",
    )


def test_rows_of_a_megabyte_are_read_and_monsters_skipped(tmp_path: Path, monkeypatch) -> None:
    megabyte = schemas.chain("long?", "word " * 200_000, "\\boxed{1}")
    monkeypatch.setattr("xreasoner.data.json_rows.LONGEST_ROW", 2_000_000)
    rows = [GOOD, megabyte, {"system": "x" * 3_000_000}, GOOD]
    found = list(read_corpus(thoughts(schemas.write_jsonl(tmp_path / "t.jsonl", rows))))
    assert [isinstance(one, Candidate) for one in found] == [True, True, False, True]
    assert len(found[1].problem.reasoning) == 999_999  # type: ignore[union-attr]
    assert found[2].position.endswith("t.jsonl:3")


def test_parquet_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    import pyarrow

    texts = pyarrow.array([b"good", b"caf\xe9", b"fine"], pyarrow.binary()).view(pyarrow.string())
    table = pyarrow.table({"question": texts, "answer": ["1", "2", "3"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    entry = TableData(source="table", path=str(tmp_path / "t.parquet"), max_bad_rows=1.0)
    assert reasons(entry) == {2: "not UTF-8"}
    assert [one.problem.answer for one in read_corpus(entry) if isinstance(one, Candidate)] == ["1", "3"]


def test_orz_math_in_its_list_of_pairs(tmp_path: Path) -> None:
    rows = [
        schemas.orz("What is $3^2$?", "9"),
        {"0": {"from": "human", "value": "And 2?"}, "1": {"ground_truth": {"value": "2"}}},
        [{"from": "human", "value": "no answer"}, {"from": "assistant", "value": "9"}],
        [{"from": "human", "value": "alone"}],
        schemas.orz("empty", " "),
    ]
    entry = OrzMathData(
        source="orz-math", path=str(schemas.write_json(tmp_path / "o.json", rows)), max_bad_rows=1
    )
    found = list(read_corpus(entry))
    assert [(c.problem.question, c.problem.answer) for c in found if isinstance(c, Candidate)] == [
        (("What is $3^2$?",), "9"),
        (("And 2?",), "2"),
    ]
    assert list(reasons(entry).values()) == [
        "no column 'ground_truth'",
        "not a pair of turns",
        "value is empty",
    ]


def test_medqa_with_four_and_five_options_and_its_original_release(tmp_path: Path) -> None:
    names = ["Aspirin", "Heparin", "Warfarin", "Insulin", "Iron"]
    rows = [
        schemas.medqa("Which drug?", names[:4], "C"),
        schemas.medqa("Which drug of five?", names, "E"),
        {"question": "By text?", "options": dict(zip("ABCD", names, strict=False)), "answer": "Heparin"},
        {
            "question": "Keyed?",
            "options": [{"key": "A", "value": "x"}, {"key": "B", "value": "y"}],
            "answer": "y",
        },
        schemas.medqa("Which?", names[:4], "C") | {"answer_idx": "E"},
        schemas.medqa("Which?", names[:4], "C") | {"answer_idx": "A"},
        schemas.medqa("Which?", ["a", "b", "", "d"], "A"),
        schemas.medqa("Which?", names[:4], "C") | {"options": "A B C"},
    ]
    entry = MedqaData(
        source="medqa", path=str(schemas.write_jsonl(tmp_path / "m.jsonl", rows)), max_bad_rows=1
    )
    kept = [one.problem for one in read_corpus(entry) if isinstance(one, Candidate)]
    assert [(p.answer, len(p.choices), p.kind) for p in kept] == [
        ("C", 4, "choice"),
        ("E", 5, "choice"),
        ("B", 4, "choice"),
        ("B", 2, "choice"),
    ]
    assert list(reasons(entry).values()) == [
        "the answer is not an option",
        "answer and answer_idx disagree",
        "an option is empty",
        "options are neither a list nor a mapping",
    ]


def test_gsm8k_worked_solution_and_answer(tmp_path: Path) -> None:
    rows = [
        schemas.gsm8k("How many?", "He has 2*500=<<2*500=1000>>1000.", "1,000"),
        {"question": "q", "answer": "no mark"},
    ]
    entry = Gsm8kData(
        source="gsm8k", path=str(schemas.write_jsonl(tmp_path / "g.jsonl", rows)), max_bad_rows=1
    )
    (problem,) = [one.problem for one in read_corpus(entry) if isinstance(one, Candidate)]
    assert (problem.reasoning, problem.answer) == ("He has 2*500=1000.", "1000")
    assert reasons(entry) == {2: "no #### answer"}


def test_own_rows_with_their_own_columns(tmp_path: Path) -> None:
    rows = [
        {"frage": "1 + 1?", "antwort": 2, "weg": "Eins und eins."},
        {"frage": "Which?", "antwort": "y", "wahl": ["x", "y"]},
        {"frage": "Seen?", "antwort": "1", "image": "a.png"},
        {"frage": None, "antwort": "1"},
        {"antwort": "1"},
    ]
    columns = {"question": "frage", "answer": "antwort", "choices": "wahl", "reasoning": "weg"}
    entry = TableData.model_validate(
        {
            "source": "table",
            "path": str(schemas.write_jsonl(tmp_path / "mine.jsonl", rows)),
            "columns": columns,
            "max_bad_rows": 1,
        }
    )
    first, second = (one.problem for one in read_corpus(entry) if isinstance(one, Candidate))
    assert (first.answer, first.kind, first.reasoning) == ("2", "math", "Eins und eins.")
    assert (second.answer, second.kind, second.choices) == ("B", "choice", ("x", "y"))
    assert list(reasons(entry).values()) == ["has an image", "frage is empty", "no column 'frage'"]


def test_every_form_of_file_gives_the_same_problems(tmp_path: Path) -> None:
    rows = schemas.chains(7)
    files = [
        schemas.write_jsonl(tmp_path / "a.jsonl", rows),
        schemas.write_json(tmp_path / "b.json", rows),
        schemas.write_json(tmp_path / "c" / "lines.json", rows),
        schemas.write_parquet(tmp_path / "d.parquet", rows),
        schemas.write_arrow(tmp_path / "e.arrow", rows),
        schemas.write_arrow(tmp_path / "f.arrow", rows, indexed=True),
    ]
    schemas.write_jsonl(files[2], rows)
    read = [problems(thoughts(file)) for file in files]
    assert len(read[0]) == 7
    assert all(one == read[0] for one in read)


def test_a_list_is_read_across_the_borders_of_chunks(tmp_path: Path, monkeypatch) -> None:
    path = schemas.write_json(tmp_path / "b.json", schemas.chains(5))
    whole = problems(thoughts(path))
    for size in (1, 7, 64):
        monkeypatch.setattr("xreasoner.data.tables.CHUNK", size)
        assert problems(thoughts(path)) == whole


def test_a_folder_is_read_by_split_and_configuration(tmp_path: Path) -> None:
    rows = schemas.chains(4)
    schemas.write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", rows[:1])
    schemas.write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", rows[1:3])
    schemas.write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows[3:])
    assert len(problems(thoughts(tmp_path))) == 3
    assert len(problems(thoughts(tmp_path, split="test"))) == 1
    with pytest.raises(ValueError, match="no table of split 'validation'"):
        problems(thoughts(tmp_path, split="validation"))
    with pytest.raises(ValueError, match="no tables in this folder"):
        (tmp_path / "empty").mkdir()
        problems(thoughts(tmp_path / "empty"))


def test_what_save_to_disk_leaves_is_read(tmp_path: Path) -> None:
    import datasets

    saved = datasets.DatasetDict({"train": datasets.Dataset.from_list(schemas.chains(3))})
    saved.save_to_disk(str(tmp_path / "saved"))
    assert len(problems(thoughts(tmp_path / "saved"))) == 3


def test_another_form_says_what_was_wanted_and_what_was_found(tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "x.jsonl", [{"prompt": "q", "response": "a"}] * 3)
    with pytest.raises(
        ValueError, match=r"not in the format of openthoughts: .*no column 'conversations' .*prompt"
    ):
        list(read_corpus(thoughts(path)))


def test_too_many_bad_rows_stop_the_run(tmp_path: Path) -> None:
    rows = [GOOD, GOOD, GOOD, {"conversations": None}]
    path = schemas.write_jsonl(tmp_path / "x.jsonl", rows)
    entry = thoughts(path).model_copy(update={"max_bad_rows": 0.25})
    assert len(list(read_corpus(entry))) == 4
    with pytest.raises(
        ValueError, match=r"1 of 4 rows are bad, .*x\.jsonl:4: not one question and one reply"
    ):
        list(read_corpus(entry.model_copy(update={"max_bad_rows": 0.2})))


def test_a_bad_file_stops_early(tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "x.jsonl", [b"{"] * 5000)
    taken = []
    with pytest.raises(ValueError, match="1000 of 1000 rows are bad"):
        for one in read_corpus(thoughts(path).model_copy(update={"max_bad_rows": 0.01})):
            taken.append(one)
    assert len(taken) == 1000


def test_limit_reads_no_further(tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "x.jsonl", [*schemas.chains(2), b"{"])
    assert len(problems(thoughts(path, limit=2))) == 2


def test_one_row_in_three_is_kept(tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "x.jsonl", schemas.chains(8))
    asked = [one.question for one in problems(thoughts(path))]
    assert [one.question for one in problems(thoughts(path, every=3))] == asked[::3]
    assert [one.question for one in problems(thoughts(path, every=3, limit=6))] == [asked[0], asked[3]]


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"cannot read \.xlsx; supported: \.jsonl, \.json"):
        problems(thoughts(tmp_path / "x.xlsx"))
    with pytest.raises(ValueError, match="no such file or folder"):
        problems(thoughts(tmp_path / "nowhere"))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="no rows"):
        problems(thoughts(tmp_path / "empty.jsonl"))
