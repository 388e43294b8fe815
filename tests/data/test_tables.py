"""Every table format gives the same rows and the same bad ones, and is never loaded whole."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from tests.data import true_schemas as schemas

from xreasoner.data.candidates import Candidate
from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.left_out import LeftOut
from xreasoner.data.sources import training_problems
from xreasoner.data.tables import read_rows, table_files
from xreasoner.recipe.training_data import (
    CorpusData,
    Gsm8kData,
    JsonlData,
    MedqaData,
    OpenThoughtsData,
    OrzMathData,
    TableData,
)

MEGABYTE = "word " * 200_000
ROWS = [
    (b"first?", b"1"),
    (MEGABYTE.encode(), b"2"),
    (b"caf\xe9?", b"3"),
    (b" ", b"4"),
    ("ﬁfth — ∫?".encode(), b"5"),
    (b"sixth?", b""),
]
"""Question and answer; the third is Latin-1, the fourth asks nothing, the sixth answers nothing."""


def as_lines(path: Path) -> None:
    rows = [
        b'{"question": ' + json.dumps(q.decode("latin-1")).encode().replace(b"\\u00e9", b"\xe9")
        if b"\xe9" in q
        else b'{"question": ' + json.dumps(q.decode()).encode()
        for q, _ in ROWS
    ]
    ended = [row + b', "answer": "' + a + b'"}' for row, (_, a) in zip(rows, ROWS, strict=True)]
    listed = b"[\n" + b",\n".join(ended) + b"\n]\n"
    path.write_bytes(listed if path.suffix == ".json" else b"\n".join(ended) + b"\n")


def as_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows([part.decode(errors="surrogateescape") for part in row] for row in ROWS)


def table() -> pyarrow.Table:
    """Arrow does not look whether its text is UTF-8."""
    columns = [
        pyarrow.array([row[i] for row in ROWS], pyarrow.binary()).view(pyarrow.string()) for i in (0, 1)
    ]
    return pyarrow.table(columns, names=["question", "answer"])


def as_parquet(path: Path) -> None:
    pyarrow.parquet.write_table(table(), path, row_group_size=4)


def as_arrow(path: Path) -> None:
    with path.open("wb") as sink, pyarrow.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table(), max_chunksize=4)


FORMS: dict[str, Callable[[Path], None]] = {
    "t.jsonl": as_lines,
    "t.json": as_lines,
    "t.csv": as_csv,
    "t.parquet": as_parquet,
    "t.arrow": as_arrow,
}


@pytest.mark.parametrize("name", FORMS)
def test_ugly_rows_cost_themselves_alone_in_every_form(name: str, tmp_path: Path) -> None:
    FORMS[name](tmp_path / name)
    entry = TableData(source="table", path=str(tmp_path / name), max_bad_rows=1.0)
    found = list(read_corpus(entry))
    kept = [one.problem for one in found if isinstance(one, Candidate)]
    assert [problem.answer for problem in kept] == ["1", "2", "5"]
    assert kept[1].question == (MEGABYTE.strip(),)
    mark = "{}[{}]" if name == "t.json" else "{}:{}"
    assert [(one.position, one.reason) for one in found if isinstance(one, LeftOut)] == [
        (mark.format(tmp_path / name, 3), "not UTF-8"),
        (mark.format(tmp_path / name, 4), "question is empty"),
        (mark.format(tmp_path / name, 6), "answer is empty"),
    ]


def test_a_field_that_is_too_long_for_csv_costs_its_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("xreasoner.data.tables.LONGEST_ROW", 1000)
    (tmp_path / "t.csv").write_text(f"question,answer\na?,1\n{'x' * 2000},2\nb?,3\n")
    rows = list(read_rows(str(tmp_path / "t.csv"), None, "train"))
    assert [bool(row.trouble) for row in rows] == [False, True, False]
    assert rows[2].value == {"question": "b?", "answer": "3"}


def test_brackets_without_end_are_not_json(tmp_path: Path) -> None:
    for name in ("t.jsonl", "t.json"):
        (tmp_path / name).write_text("[" * 200_000 + "\n")
    (row,) = read_rows(str(tmp_path / "t.jsonl"), None, "train")
    assert (row.trouble, row.detail) == ("not JSON", "nested too deeply")
    with pytest.raises(ValueError, match=r"t\.json\[1\]: not JSON: nested too deeply"):
        list(read_rows(str(tmp_path / "t.json"), None, "train"))


GOOD = '{"question": "a?", "answer": "1"}'


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (f"[{GOOD} {GOOD}]", "[1]: not JSON: neither a comma nor ] after this row"),
        (f"[{GOOD},, {GOOD}]", "[2]: not JSON from here on"),
        (f"[,{GOOD}]", "[1]: not JSON from here on"),
        (f"[{GOOD},]", "[2]: not JSON from here on"),
        (f"[{GOOD},{GOOD}", "[2]: not JSON from here on"),
        (f"[{GOOD},{GOOD[:-1]}", "[2]: not JSON from here on"),
        (f"[{GOOD}] {GOOD}", ": not JSON: there is text after the end of the list"),
    ],
)
def test_a_damaged_list_stops_instead_of_ending_early(listed: str, said: str, tmp_path: Path) -> None:
    """The rows after the damage would vanish."""
    (tmp_path / "t.json").write_text(listed)
    with pytest.raises(ValueError) as caught:
        list(read_rows(str(tmp_path / "t.json"), None, "train"))
    assert str(caught.value) == f"{tmp_path / 't.json'}{said}"


def test_a_quote_that_is_never_closed_stops_instead_of_taking_the_rest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('question,answer\na?,1\n"b?,2\nc?,3\nd?,4\n')
    with pytest.raises(ValueError, match=r"t\.csv:2: a quote is opened here and never closed"):
        list(read_rows(str(tmp_path / "t.csv"), None, "train"))


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_numbers_that_json_lacks_or_python_cannot_convert_cost_their_row(name: str, tmp_path: Path) -> None:
    """One integer of 6,000 digits stopped a corpus."""
    odd = ["1" * 6000, "NaN", "-Infinity", "1e999", '"\\ud800"', "4"]
    rows = [f'{{"question": "{n}?", "answer": {answer}}}' for n, answer in enumerate(odd)]
    (tmp_path / name).write_text("\n".join(rows) if name == "t.jsonl" else f"[{','.join(rows)}]")
    found = list(read_corpus(TableData(source="table", path=str(tmp_path / name), max_bad_rows=1.0)))
    assert [one.reason for one in found if isinstance(one, LeftOut)] == [
        "a number has more than 4,300 digits",
        "not JSON: NaN",
        "not JSON: -Infinity",
        "answer is not a finite number",
        "not valid Unicode",
    ]
    assert [one.problem.answer for one in found if isinstance(one, Candidate)] == ["4"]


READERS_OF_ROWS: dict[str, Callable[[Path], list[Any]]] = {
    "table": lambda path: list(read_corpus(TableData(source="table", path=str(path)))),
    "jsonl": lambda path: training_problems([JsonlData(source="jsonl", path=path)], 0),
}


@pytest.mark.parametrize("source", READERS_OF_ROWS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_are_named_in_one_line(source: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes('{"question": "café?", "answer": "1"}\n'.encode(encoding))
    with pytest.raises(ValueError) as caught:
        READERS_OF_ROWS[source](path)
    said = {"utf-16-le": "not ", "latin-1": "not UTF-8"}.get(encoding, "save it as UTF-8")
    assert said in str(caught.value) and "t.jsonl" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("source", READERS_OF_ROWS)
def test_every_reader_takes_a_byte_order_mark(source: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(f"{GOOD}\n".encode("utf-8-sig"))
    assert len(READERS_OF_ROWS[source](path)) == 1


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\0" * 99, b"\xef\xbb\xbf", b"{", b"[]", b"null", b"1"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.parquet", "t.arrow"])
def test_empty_and_senseless_files_are_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        list(read_corpus(TableData(source="table", path=str(tmp_path / name))))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_one_large_group_of_parquet_is_not_held_in_memory(tmp_path: Path) -> None:
    """As pandas writes all rows of a frame."""
    rng = random.Random(0)
    rows: list[dict[str, Any]] = [{"question": rng.randbytes(10_000).hex()} for _ in range(5000)]
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, use_dictionary=False)
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 1
    before = pyarrow.total_allocated_bytes()
    stream = read_rows(str(path), None, "train")
    first = next(stream)
    held = pyarrow.total_allocated_bytes() - before
    assert first.value == rows[0]
    assert held < path.stat().st_size / 3
    assert [row.value for row in stream] == rows[1:]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_broken_file_is_named(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{ending}"
    FORMS[path.name](path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=rf"t\.{ending}: not a valid \.{ending} file: ") as caught:
        list(read_rows(str(path), None, "train"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "split", "files"),
    [
        # As the repositories on the hub are laid out.
        ("default", "train", ["data/train-00000-of-00001.parquet"]),
        ("metadata", "train", ["metadata/train-00000-of-00001.parquet"]),
        ("main", "test", ["main/test-00000-of-00001.parquet"]),
        (None, "train", ["phrases_no_exclude_train.jsonl"]),
    ],
)
def test_copies_of_the_hub_are_read_by_configuration_and_split(
    config: str | None, split: str, files: list[str], tmp_path: Path
) -> None:
    laid_out = {
        "default": ["data/train-00000-of-00001.parquet", "metadata/train-00000-of-00001.parquet"],
        "metadata": ["data/train-00000-of-00001.parquet", "metadata/train-00000-of-00001.parquet"],
        "main": [f"{c}/{s}-00000-of-00001.parquet" for c in ("main", "socratic") for s in ("train", "test")],
        None: ["phrases_no_exclude_test.jsonl", "phrases_no_exclude_train.jsonl"],
    }
    for name in laid_out[config]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = table_files(tmp_path, config, split)
    assert [str(file.relative_to(tmp_path)) for file in found] == files


WRITERS: dict[str, Callable[[Path, list[Any]], Path]] = {
    ".jsonl": schemas.write_jsonl,
    ".json": schemas.write_json,
    ".parquet": schemas.write_parquet,
}
CORPORA: dict[str, tuple[CorpusData, str, list[Any]]] = {
    "openthoughts": (
        OpenThoughtsData(source="openthoughts"),
        "data/train-00000-of-00001.parquet",
        schemas.chains(3),
    ),
    "orz-math": (
        OrzMathData(source="orz-math"),
        "orz_math_57k_collected.json",
        [schemas.orz(f"What is {i} + 1?", str(i + 1)) for i in range(3)],
    ),
    "medqa": (
        MedqaData(source="medqa"),
        "phrases_no_exclude_train.jsonl",
        [schemas.medqa(f"Case {i}?", ["a", "b", "c", "d"], "ABC"[i]) for i in range(3)],
    ),
    "gsm8k": (
        Gsm8kData(source="gsm8k"),
        "train-00000-of-00001.parquet",
        [schemas.gsm8k(f"How many are {i}?", "So it is.", str(i)) for i in range(3)],
    ),
}
