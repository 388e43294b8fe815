"""All tables as one index: items with the answers of every stage and run side by side, as typed columns."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from xreasoner.report.reader.answer_files import AnswerSource
from xreasoner.report.reader.answer_rows import VERDICTS
from xreasoner.report.reader.file_table import FORMAT, FileTable, places

MOST_TAG_VALUES = 400
"""A tag with more values is an id: nobody filters by it."""

Filed = tuple[AnswerSource, FileTable]
ItemKey = tuple[str, str, str]
"""Benchmark, id, and the mark of question and key: the same item in every stage and run."""


@dataclass
class IndexedItems:
    """One entry an item."""

    keys: dict[ItemKey, int] = field(default_factory=dict)
    benchmark: list[int] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    place: list[tuple[str, int]] = field(default_factory=list)
    """The chunk with its question, and its number there."""

    def number(self, key: ItemKey) -> int:
        return self.keys.setdefault(key, len(self.keys))


def index_of(filed: Sequence[Filed], run_names: Sequence[str]) -> dict[str, Any]:
    """What the page loads first. `run_names` are those of the files' runs, in order."""
    benchmarks = list({file.benchmark: file for file, _ in reversed(filed)}.values())[::-1]
    benchmark_number = {file.benchmark: number for number, file in enumerate(benchmarks)}
    runs = dict(zip(dict.fromkeys(file.run_dir for file, _ in filed), run_names, strict=True))
    lanes = list(dict.fromkeys((runs[file.run_dir], file.stage) for file, _ in filed))
    lane_number = {lane: number for number, lane in enumerate(lanes)}
    items, parts = IndexedItems(), list[list[npt.NDArray[np.int64]]]()
    said, chunks = Numbered({None: 0}), Numbered({})
    for file, table in filed:
        number_of = add_items(items, file, table, benchmark_number[file.benchmark])
        parts.append(
            answer_columns(table, number_of, lane_number[runs[file.run_dir], file.stage], said, chunks)
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    item, lane, sample, verdict, flags, think, chunk, row, said_column = (one[order] for one in columns)
    return {
        "format": FORMAT,
        "runs": list(run_names),
        "verdicts": VERDICTS,
        "lanes": [
            {"run": run, "stage": stage, "name": lane_name(run, stage, run_names)} for run, stage in lanes
        ],
        "benchmarks": [
            {
                "name": one.benchmark,
                "kind": one.kind,
                "modality": one.modality,
                "domain": one.domain,
                "role": one.role,
            }
            for one in benchmarks
        ],
        "tags": list(tag_columns(items.tags)),
        "items": {
            "benchmark": packed(items.benchmark, "u2"),
            "ids": [key[1] for key in items.keys],
            "titles": items.titles,
            "chunk": packed([chunks[name] for name, _ in items.place], "u4"),
            "row": packed([row for _, row in items.place], "u2"),
            "start": packed(np.searchsorted(item, np.arange(len(items.keys) + 1)), "u4"),
        },
        "answers": {
            "lane": packed(lane, "u2"),
            "sample": packed(sample, "u2"),
            "verdict": packed(verdict, "u1"),
            "flags": packed(flags, "u1"),
            "think": packed(think, "u4"),
            "chunk": packed(chunk, "u4"),
            "row": packed(row, "u2"),
            "said": packed(said_column, "u4"),
        },
        "said": list(said.numbers),
        "chunks": list(chunks.numbers),
    }


def lane_name(run: str, stage: str, run_names: Sequence[str]) -> str:
    return stage if len(run_names) == 1 else f"{run}: {stage}"


class Numbered:
    """Distinct values, numbered as they come."""

    def __init__(self, start: dict[str | None, int]) -> None:
        self.numbers = start

    def __getitem__(self, value: str | None) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def add_items(items: IndexedItems, file: AnswerSource, table: FileTable, benchmark: int) -> list[int]:
    """The number of each of the table's items. Other stages have brought most of them before."""
    found = places(table.question_chunks, table.question_counts)
    numbers = []
    for id_, mark, title, tags, place in zip(
        table.ids, table.marks, table.titles, table.tags, found, strict=True
    ):
        number = items.number((file.benchmark, id_, mark))
        if number == len(items.titles):
            items.benchmark.append(benchmark)
            items.titles.append(title)
            items.tags.append(tags)
            items.place.append(place)
        numbers.append(number)
    return numbers


def answer_columns(
    table: FileTable, number_of: Sequence[int], lane: int, said: Numbered, chunks: Numbered
) -> list[npt.NDArray[np.int64]]:
    """Item, lane, sample, verdict, flags, tokens of thought, chunk, row, extracted answer."""
    count = len(table.item)
    rows = places(table.chunks, table.counts)
    columns: list[Iterable[int]] = [
        (number_of[one] for one in table.item),
        [lane] * count,
        table.sample,
        table.verdict,
        table.flags,
        table.think_tokens,
        (chunks[name] for name, _ in rows),
        (row for _, row in rows),
        (said[one] for one in table.said),
    ]
    return [np.fromiter(column, np.int64, count) for column in columns]


def tag_columns(tags: Sequence[dict[str, str]]) -> Iterable[dict[str, Any]]:
    """Tags that one can filter by; 0 is an item without the tag."""
    for name in dict.fromkeys(name for one in tags for name in one):
        values = list(dict.fromkeys(one[name] for one in tags if name in one))
        several = len(values) > 1 or any(name not in one for one in tags)
        if several and len(values) <= MOST_TAG_VALUES:
            values.sort(key=lambda value: (number_in(value), value))
            number = {value: place for place, value in enumerate(values, start=1)}
            column = [number.get(one.get(name, ""), 0) if name in one else 0 for one in tags]
            yield {"name": name, "values": values, "column": packed(column, "u2")}


def number_in(value: str) -> float:
    """Numbers in their order, before words."""
    plain = value.replace(",", "")
    return float(plain) if plain.isdecimal() else float("inf")


def packed(values: "Sequence[int] | npt.NDArray[np.int64]", kind: str) -> str:
    """Little-endian integers in base64; one that does not fit is an error, not another number."""
    column = np.asarray(values, np.int64)
    assert not column.size or column.max() <= np.iinfo(kind).max, kind
    return base64.b64encode(column.astype(f"<{kind}").tobytes()).decode()
