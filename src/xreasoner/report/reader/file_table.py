"""One answer file as columns, with its texts in chunks; kept, so that an unchanged file is not read again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import xxhash

from xreasoner.report.reader.answer_files import AnswerSource
from xreasoner.report.reader.answer_rows import VERDICTS, AskedItem, read_rows
from xreasoner.report.reader.own_files import digest_of_file, read_signed, signed
from xreasoner.report.reader.pictures import place_picture
from xreasoner.report.reader.text_chunks import ChunkWriter, write_once

FORMAT = 2
"""Raised whenever tables or chunks change, so that older ones are not used."""
LONGEST_TITLE, LONGEST_SAID = 90, 60
"""Characters in lists; the chunk has the whole text."""
FORCED, CUT, TOKENS = 1, 2, 4
"""Flags of an answer: a forced exit, cut by the token limit, tokens with log-probabilities."""


@dataclass
class FileTable:
    """Columns: one entry an item, or one an answer."""

    ids: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    question_chunks: list[str] = field(default_factory=list)
    question_counts: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    sample: list[int] = field(default_factory=list)
    verdict: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    think_tokens: list[int] = field(default_factory=list)
    said: list[str | None] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files of all chunks."""


def table_of(file: AnswerSource, out: Path) -> tuple[str, FileTable]:
    """The table and its key in the cache; builds the table if the file has changed."""
    key = key_of(file)
    kept = out / "cache" / f"{key}.json"
    if (content := read_signed(kept)) is not None:
        table = FileTable(**json.loads(content))
        if all(digest_of_file(out / "text" / f"{name}.js") == found for name, found in table.digests.items()):
            return key, table
    table = build_table(file, out)
    write_once(kept, signed(json.dumps(asdict(table), separators=(",", ":"))))
    return key, table


def key_of(file: AnswerSource) -> str:
    facts: list[object] = [FORMAT, str(file.path.resolve()), file.step]
    for path in filter(None, (file.path, file.problems)):
        found = path.stat() if path.exists() else None
        facts += [found and found.st_size, found and found.st_mtime_ns]
    return xxhash.xxh3_128_hexdigest(json.dumps(facts).encode())


def build_table(file: AnswerSource, out: Path) -> FileTable:
    table = FileTable()
    questions, texts = ChunkWriter(out / "text"), ChunkWriter(out / "text")
    number_of: dict[str, int] = {}
    for row in read_rows(file):
        if row.item.id not in number_of:
            number_of[row.item.id] = len(number_of)
            add_item(table, questions, row.item, file.pictures, out / "pictures")
        table.item.append(number_of[row.item.id])
        table.sample.append(row.sample)
        table.verdict.append(VERDICTS.index(row.verdict))
        has_tokens = "tokens" in row.details
        table.flags.append(FORCED * row.forced | CUT * row.cut | TOKENS * has_tokens)
        table.think_tokens.append(row.think_tokens)
        table.said.append(None if row.extracted is None else in_a_line(row.extracted, LONGEST_SAID))
        texts.add(row.text, {"extracted": row.extracted, "why": row.why, **row.details})
    questions.flush()
    texts.flush()
    table.question_chunks, table.question_counts = questions.names, questions.counts
    table.chunks, table.counts = texts.names, texts.counts
    table.digests = questions.digests | texts.digests
    return table


def add_item(table: FileTable, questions: ChunkWriter, item: AskedItem, pictures: Path, placed: Path) -> None:
    table.ids.append(item.id)
    table.marks.append(item.mark)
    table.titles.append(in_a_line(item.question, LONGEST_TITLE))
    table.tags.append(dict(item.tags))
    shown = [place_picture(pictures, name, placed) for name in item.pictures]
    facts = {"gold": item.answer, "choices": item.choices, "pictures": shown, "tags": item.tags}
    questions.add(item.question, facts)


def in_a_line(text: str, most: int) -> str:
    words = " ".join(text[: 4 * most].split())
    return words if len(words) <= most else f"{words[: most - 1]}…"


def places(names: Sequence[str], counts: Sequence[int]) -> list[tuple[str, int]]:
    """The chunk of each text, and its number there."""
    return [(name, row) for name, count in zip(names, counts, strict=True) for row in range(count)]
