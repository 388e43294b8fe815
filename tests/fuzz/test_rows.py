"""Whatever is in a table: problems, rows that are listed as bad, or one line. No row vanishes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from xreasoner.cli.failures import raised_by_us
from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.json_rows import jsonl_rows
from xreasoner.data.sources import training_problems
from xreasoner.evals.benchmarks.own_table import read_own_jsonl, read_own_table
from xreasoner.recipe.benchmark_entries import JsonlBenchmark, TableBenchmark
from xreasoner.recipe.training_data import JsonlData, MedqaData, OpenThoughtsData, OrzMathData, TableData

COLUMNS = st.sampled_from(
    ["question", "answer", "choices", "reasoning", "image", "id", "options", "conversations", "0", "1"]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["A", "1", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(COLUMNS, inner, max_size=6),
    max_leaves=12,
)
GOOD = {"question": "2 + 2?", "answer": "4"}
LINES = st.lists(
    JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(COLUMNS, JSON, max_size=5).map(lambda row: json.dumps(GOOD | row).encode())
    | st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")),
    max_size=6,
)
READ: dict[str, Callable[[Path], Any]] = {
    "table": lambda path: list(read_corpus(TableData(source="table", path=str(path)))),
    "orz-math": lambda path: list(read_corpus(OrzMathData(source="orz-math", path=str(path)))),
    "medqa": lambda path: list(read_corpus(MedqaData(source="medqa", path=str(path)))),
    "openthoughts": lambda path: list(read_corpus(OpenThoughtsData(source="openthoughts", path=str(path)))),
    "jsonl": lambda path: training_problems([JsonlData(source="jsonl", path=path)], 0),
    "asked table": lambda path: read_own_table(
        TableBenchmark(source="table", name="t", path=str(path), max_bad_rows=1.0)
    ),
    "asked jsonl": lambda path: read_own_jsonl(JsonlBenchmark(source="jsonl", name="t", path=path)),
}


def read_or_one_line(path: Path) -> None:
    for read in READ.values():
        try:
            read(path)
        except ValueError as error:
            assert raised_by_us(error.__traceback__), repr(error)
            assert "\n" not in str(error) and len(str(error)) < 2000


@given(LINES)
@example([json.dumps(GOOD).encode(), b'{"question": "q", "answer": ' + b"1" * 6000 + b"}"])
@example([b"\xef\xbb\xbf" + json.dumps(GOOD).encode()])
@example([b"[" * 5000])
@example([b'{"question": "q", "answer": NaN}'])
@example([b'{"question": "q", "answer": "\\ud800"}'])
@example([json.dumps(GOOD | {"id": "x"}).encode(), json.dumps(GOOD | {"id": "x", "answer": "5"}).encode()])
@example([json.dumps(GOOD | {"image": "/proc/self/environ"}).encode()])
@example([json.dumps(GOOD | {"image": ["a\0b", {"path": 3}, {"bytes": "x"}]}).encode()])
def test_any_lines(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    read_or_one_line(path)
    if path.read_bytes()[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        assert len(list(jsonl_rows(path))) == sum(bool(line.strip()) for line in lines)


@given(st.lists(JSON | st.dictionaries(COLUMNS, JSON).map(lambda row: GOOD | row), max_size=5), st.data())
def test_any_list(tmp_path: Path, rows: list[Any], data: st.DataObject) -> None:
    """As it is, and with one byte changed."""
    whole = bytearray(json.dumps(rows, indent=data.draw(st.sampled_from([None, 1]))).encode())
    if data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "t.json"
    path.write_bytes(whole)
    read_or_one_line(path)


@given(st.binary(max_size=150), st.sampled_from(["csv", "json", "parquet", "arrow"]))
@example(b'question,answer\n"a,1\nb,2\n', "csv")
@example(b"question,answer\n\0,1\n", "csv")
@example(b"ARROW1", "arrow")
@example(b"PAR1PAR1", "parquet")
def test_any_bytes(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_bytes(content)
    read_or_one_line(path)
