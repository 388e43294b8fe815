"""All answers of some runs as one table with their texts: parquet, or CSV."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from xreasoner.report.reader.answer_files import answer_files
from xreasoner.report.reader.answer_rows import read_rows
from xreasoner.report.reader.write_reader import run_names
from xreasoner.storage.files import sweep_for, written_atomically

ROWS_AT_ONCE = 2_000
_TEXT = ("run", "stage", "benchmark", "kind", "domain", "modality", "id", "question", "gold", "verdict")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEXT]
    + [("step", pa.int64()), ("sample", pa.int64()), ("forced", pa.bool_()), ("cut", pa.bool_())]
    + [("think_tokens", pa.int64()), ("advantage", pa.float64())]
    + [(name, pa.string()) for name in ("extracted", "why", "text")]
)


def export_answers(run_dirs: Sequence[Path], path: Path) -> int:
    """Returns the number of answers."""
    writers = {".parquet": pyarrow.parquet.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}
    if path.suffix not in writers:
        raise ValueError(f"--export {path}: name a file that ends in .parquet or .csv")
    sweep_for(path)
    count = 0
    with written_atomically(path) as file, writers[path.suffix](file, SCHEMA) as writer:
        answers = answer_dicts(run_dirs)
        while rows := list(islice(answers, ROWS_AT_ONCE)):
            writer.write(pa.Table.from_pylist(rows, SCHEMA))
            count += len(rows)
    return count


def answer_dicts(run_dirs: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for run_dir, run in zip(run_dirs, run_names(run_dirs), strict=True):
        for file in answer_files(run_dir):
            for row in read_rows(file):
                facts = {
                    "run": run,
                    "stage": file.stage,
                    "benchmark": file.benchmark,
                    "kind": file.kind,
                    "domain": file.domain,
                    "modality": file.modality,
                    "step": file.step or None,
                    "id": row.item.id,
                    "question": row.item.question,
                    "gold": row.item.answer,
                    "advantage": row.details.get("advantage"),
                    **{name: getattr(row, name) for name in PLAIN},
                }
                yield {name: without_surrogates(value) for name, value in facts.items()}


PLAIN = ("sample", "verdict", "forced", "cut", "think_tokens", "extracted", "why", "text")


def without_surrogates(value: Any) -> Any:
    """Half a surrogate pair has no UTF-8."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
