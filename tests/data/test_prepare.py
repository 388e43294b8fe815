"""Preparation: every row is kept or left out with its reason, and the result is reused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.data import true_schemas as schemas

from xreasoner.chat.template import training_example
from xreasoner.data.preparation_report import bars, draw_histogram, print_report, quantiles
from xreasoner.data.prepare import prepare, read_report, stage_problems
from xreasoner.data.problem_store import ProblemStore, problems_fingerprint
from xreasoner.models.load import load_tokenizer
from xreasoner.recipe.file import check
from xreasoner.recipe.schema import Recipe
from xreasoner.records import Problem


def recipe(
    out: Path, path: Path, filters: Any = None, instruction: str | None = None, **entry: Any
) -> Recipe:
    data = {"source": "openthoughts", "path": str(path), "max_bad_rows": 1.0} | entry
    stage = {"kind": "sft", "steps": 1, "data": [data], "filters": filters}
    raw = {"name": "t", "model": "m", "out": str(out), "instruction": instruction, "stages": {"sft": stage}}
    return check(raw, "test")


def prepared(recipe_: Recipe, base: Path, tests: dict[str, list[Problem]] | None = None) -> ProblemStore:
    return prepare(recipe_, "sft", base, tests or {}, lambda line: None)


def left_out(store: ProblemStore) -> dict[str, list[str]]:
    """TableRow numbers by reason."""
    found: dict[str, list[str]] = {}
    for line in (store.folder / "left_out.jsonl").read_text().splitlines():
        row = json.loads(line)
        found.setdefault(row["reason"], []).append(row["position"].rpartition(":")[2])
    return found


def test_nothing_is_lost_silently(tiny_base: Path, tmp_path: Path) -> None:
    rows = schemas.chains(20)
    asked = "Anna walks 3 miles to school every day and 4 miles back home by the river."
    rows += [rows[3], schemas.chain(asked.upper(), "She walks.", "\\boxed{7}")]
    rows += [schemas.chain("No thought?", "", "x"), {"system": "none"}]
    rows += [schemas.chain("Long?", "and so on " * 400, "x")]
    path = schemas.write_jsonl(tmp_path / "o.jsonl", rows)
    tests = {"walks": [Problem("w1", (asked,), "7", "math")]}
    store = prepared(recipe(tmp_path / "run", path, {"max_tokens": 300}), tiny_base, tests)
    report = read_report(store.folder)
    assert left_out(store) == {
        "duplicate question": ["21"],
        "in a benchmark: exact": ["22"],
        "empty thought": ["23"],
        "no column 'conversations'": ["24"],
        "too long": ["25"],
    }
    assert report.rows == 25
    assert report.kept == len(store) == 20
    assert report.rows == report.kept + sum(report.left_out.values())
    assert report.sources == {"openthoughts": 20}
    assert report.benchmarks == {"walks": 1}
    assert [problem.id for problem in store] == [f"openthoughts-{n:06}" for n in range(1, 21)]


def test_a_store_gives_back_what_was_read(tiny_base: Path, tmp_path: Path) -> None:
    rows = schemas.chains(5)
    store = prepared(recipe(tmp_path / "run", schemas.write_jsonl(tmp_path / "o.jsonl", rows)), tiny_base)
    assert list(store) == [store[i] for i in range(5)] == store[:]
    assert store[2].question == (rows[2]["conversations"][0]["value"],)
    assert store[2].reasoning == "He starts with 2. He buys 4. So 2 + 4 = 6."
    assert store[-1].id == "openthoughts-000005"


def test_lengths_are_those_trained_on(tiny_base: Path, tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "o.jsonl", schemas.chains(6))
    wanted = recipe(tmp_path / "run", path, instruction="think then answer")
    store = prepared(wanted, tiny_base)
    tokenizer = load_tokenizer(tiny_base)
    trained = [len(training_example(problem, "think then answer", tokenizer).ids) for problem in store]
    assert store.tokens.tolist() == trained
    assert read_report(store.folder).tokens == sum(trained)


def test_near_duplicates_go_but_other_numbers_stay(tiny_base: Path, tmp_path: Path) -> None:
    text = "A farmer has {} cows and {} goats on his farm near the river, how many animals are there in {}?"
    asked = [
        text.format(3, 4, "all"),
        text.format(3, 4, "total"),
        text.format(5, 4, "all"),
        text.format(3, 4, "ALL").replace(",", " ;"),
        "Something else entirely that shares no words with any of these at all.",
    ]
    path = schemas.write_jsonl(tmp_path / "o.jsonl", [schemas.chain(q, "t", "s") for q in asked])
    for manner, kept in {"keep": "12345", "exact": "1235", "near": "135"}.items():
        store = prepared(recipe(tmp_path / manner, path, {"duplicates": manner}), tiny_base)
        assert "".join(problem.id[-1] for problem in store) == kept
    assert left_out(store) == {
        "duplicate question": ["4"],
        "near duplicate question": ["openthoughts-000002"],
    }
    assert read_report(store.folder).kept == 3


def test_another_sign_makes_another_question(tiny_base: Path, tmp_path: Path) -> None:
    text = (
        "In a class of young pupils the teacher writes on the board the sum 15 {} 8 = ? and asks Tom for it."
    )
    asked = [text.format(sign) for sign in "+-*/"]
    again = [text.format("−"), text.format("-").replace("In a class", "— In a class -")]
    path = schemas.write_jsonl(tmp_path / "o.jsonl", [schemas.chain(q, "t", "s") for q in asked + again])
    for manner in ("exact", "near"):
        store = prepared(recipe(tmp_path / manner, path, {"duplicates": manner}), tiny_base)
        assert left_out(store) == {"duplicate question": ["5", "6"]}


def test_wrong_final_answers_are_left_out(tiny_base: Path, tmp_path: Path) -> None:
    rows = [
        schemas.raw_chain("a?", "t", "So \\boxed{0.5}", "Thus $\\boxed{\\frac{1}{2}}$."),
        schemas.raw_chain("b?", "t", "So \\boxed{3}", "4"),
        schemas.raw_chain("c?", "t", "So it holds.", "4"),
        schemas.raw_chain("d?", "t", "Proved.", "A proof\nof many lines."),
    ]
    path = schemas.write_jsonl(tmp_path / "o.jsonl", rows)
    store = prepared(recipe(tmp_path / "run", path, {"verified": True}, config="metadata"), tiny_base)
    assert [problem.question[0] for problem in store] == ["a?", "d?"]
    assert left_out(store) == {"wrong final answer": ["2", "3"]}
    details = (store.folder / "left_out.jsonl").read_text()
    assert "'3', expected '4'" in details


def test_length_and_thought(tiny_base: Path, tmp_path: Path) -> None:
    path = schemas.write_jsonl(
        tmp_path / "t.jsonl",
        [{"question": "a", "answer": "1", "reasoning": "b " * n} for n in (0, 1, 50, 500)],
    )
    filters = {"thoughts": "required", "min_tokens": 40, "max_tokens": 200, "duplicates": "keep"}
    store = prepared(recipe(tmp_path / "run", path, filters, source="table"), tiny_base)
    assert left_out(store) == {"no thought": ["1"], "too short": ["2"], "too long": ["4"]}


def test_pass_rates(tiny_base: Path, tmp_path: Path) -> None:
    rows = [{"question": f"question number {n}", "answer": "1"} for n in range(5)]
    path = schemas.write_jsonl(tmp_path / "t.jsonl", rows)
    rates = [("t-000001", 0.0), ("t-000002", 0.5), ("t-000003", 1.0), ("t-000004", None)]
    lines = [{"id": key, "rate": rate, "samples": 8} for key, rate in rates]
    schemas.write_jsonl(tmp_path / "rates.jsonl", lines)
    filters = {"pass_rates": {"file": str(tmp_path / "rates.jsonl")}}
    store = prepared(recipe(tmp_path / "run", path, filters, source="table"), tiny_base)
    assert [problem.id for problem in store] == ["t-000002"]
    assert left_out(store) == {"never solved": ["1"], "always solved": ["3"], "no pass rate": ["4", "5"]}


def test_two_files_of_one_name_keep_their_ids_apart(tiny_base: Path, tmp_path: Path) -> None:
    entries = []
    for folder in ("one", "two"):
        rows = [{"question": f"{folder} asks this", "answer": "1"}]
        path = schemas.write_jsonl(tmp_path / folder / "t.jsonl", rows)
        entries.append({"source": "table", "path": str(path)})
    stage = {"kind": "sft", "steps": 1, "data": entries}
    wanted = check({"name": "t", "model": "m", "out": str(tmp_path / "r"), "stages": {"sft": stage}}, "test")
    assert [problem.id for problem in prepared(wanted, tiny_base)] == ["t-000001", "t.2-000001"]


def test_data_are_prepared_once_and_again_when_something_changed(tiny_base: Path, tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "o.jsonl", schemas.chains(3))
    heard: list[str] = []
    wanted = recipe(tmp_path / "run", path, {})
    first = prepared(wanted, tiny_base)
    made = (first.folder / "index.npy").stat().st_mtime_ns
    again = prepare(wanted, "sft", tiny_base, {}, heard.append)
    assert (again.folder / "index.npy").stat().st_mtime_ns == made
    assert again.fingerprint == first.fingerprint
    tests = {"b": [Problem("b", ("Who wrote the book about the river and the sea?",), "x", "math")]}
    for changed, asked in (
        (recipe(tmp_path / "run", path, {"min_tokens": 1}), {}),
        (wanted, tests),
        (recipe(tmp_path / "run", path, {}, instruction="think"), {}),
    ):
        before = (first.folder / "made_from.json").read_text()
        other = prepared(changed, tiny_base, asked)
        assert (first.folder / "made_from.json").read_text() != before
        assert other.fingerprint == first.fingerprint  # all three keep the same problems
    schemas.write_jsonl(path, schemas.chains(4))
    grown = prepared(wanted, tiny_base)
    assert len(grown) == 4
    assert grown.fingerprint != first.fingerprint
    assert grown.fingerprint == problems_fingerprint(list(grown))


def test_a_broken_off_preparation_is_made_anew(tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    path = schemas.write_jsonl(tmp_path / "o.jsonl", schemas.chains(3))
    wanted = recipe(tmp_path / "run", path, {})
    with monkeypatch.context() as broken:
        broken.setattr(
            "xreasoner.data.prepare.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            prepared(wanted, tiny_base)
    assert not (tmp_path / "run" / "data" / "sft").exists()
    assert len(prepared(wanted, tiny_base)) == 3


def test_the_mini_world_is_drawn_as_before_unless_filtered(tiny_base: Path, tmp_path: Path) -> None:
    entry = {"source": "miniworld", "families": ["sums"], "steps": [1, 2], "count": 12}
    stage = {"kind": "sft", "steps": 1, "data": [entry]}
    plain = check({"name": "t", "model": "m", "out": str(tmp_path / "r"), "stages": {"sft": stage}}, "test")
    drawn = stage_problems(plain, "sft", tiny_base, {}, print)
    filtered = check(
        {
            "name": "t",
            "model": "m",
            "out": str(tmp_path / "r"),
            "stages": {"sft": stage | {"filters": {"duplicates": "keep"}}},
        },
        "test",
    )
    kept = stage_problems(filtered, "sft", tiny_base, {}, print)
    assert isinstance(drawn, list)
    assert list(kept) == drawn
    assert Counter(problem.source for problem in kept) == {"miniworld": 12}


def test_the_report_is_printed_and_drawn(tiny_base: Path, tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "o.jsonl", [*schemas.chains(12), {"system": "s"}])
    store = prepared(recipe(tmp_path / "run", path), tiny_base)
    console = Console(record=True, width=120)
    print_report("sft", read_report(store.folder), store.tokens.tolist(), console)
    draw_histogram("sft", read_report(store.folder), store.tokens.tolist(), tmp_path / "h.png")
    clean = replace(read_report(store.folder), left_out={})
    draw_histogram("sft", clean, store.tokens.tolist(), tmp_path / "clean.png")
    said = console.export_text()
    assert "12 of 13 rows kept" in said
    assert "no column 'conversations'" in said
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("h.png", "clean.png"))


def test_quantiles_and_bars_by_hand() -> None:
    assert quantiles(range(101)) == {f"{q}%": q for q in (0, 5, 25, 50, 75, 95, 99, 100)}
    assert quantiles([]) == {}
    lines = bars([1] * 10 + [17] * 5)
    assert lines[0].split() == ["1", "█" * 40, "10"]
    assert lines[-1].split() == ["17", "█" * 20, "5"]
    assert [line.split()[-1] for line in lines[1:-1]] == ["0"] * 7


def test_lengths_far_from_a_limit_are_estimated_and_nothing_is_left_out_by_estimate(
    tiny_base: Path, tmp_path: Path, monkeypatch
) -> None:
    lengths = [20, 60, 25, 90, 30, 70, 45, 50] * 8
    rows = [schemas.chain(f"number {n} ?", "so it is " * length, "x") for n, length in enumerate(lengths)]
    path = schemas.write_jsonl(tmp_path / "o.jsonl", rows)
    filters = {"max_tokens": 200, "duplicates": "keep"}
    exact = prepared(recipe(tmp_path / "exact", path, filters), tiny_base)
    monkeypatch.setattr("xreasoner.data.checks.COUNTED_FIRST", 8)
    monkeypatch.setattr("xreasoner.data.prepare.TOGETHER", 8)
    quick = prepared(recipe(tmp_path / "quick", path, filters), tiny_base)
    assert read_report(exact.folder).estimated == 0
    assert 16 <= read_report(quick.folder).estimated <= 56
    assert [problem.id for problem in quick] == [problem.id for problem in exact]
    assert left_out(quick) == left_out(exact)
    assert len(left_out(exact)["too long"]) == 16
    assert quick.tokens.sum() == pytest.approx(exact.tokens.sum(), rel=0.05)
