"""Rows per second and peak memory of reading each source, on synthetic corpora in their true schemas.

python benchmarks/data_sources.py measure CORPORA --rows 113957     # writes missing corpora first, 9 GB
"""

import argparse
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter

from apart import print_measured, record_growth
from synthetic_corpora import FORMS, write_corpus
from xreasoner.data.corpora.read import read_corpus
from xreasoner.recipe.training_data import CorpusData


def measure(folder: Path, rows: int, only: list[str]) -> None:
    for name in only or FORMS:
        if not (folder / name).exists():
            write_corpus(FORMS[name], folder / name, rows)
        title = f"data, {rows:,} rows read: {name}"
        record_growth(title, __file__, rows, str(folder), "--source", name)


def case(folder: Path, name: str, rows: int) -> None:
    form = FORMS[name]
    # A table is given as a file, a corpus as a copy of its hub repository.
    path = folder / name / (form.file if form.entry["source"] == "table" else "")
    entry: CorpusData = TypeAdapter(CorpusData).validate_python(form.entry | {"path": str(path)})
    print_measured(rows, lambda: sum(1 for _ in islice(read_corpus(entry), rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["measure", "case"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=113_957)
    parser.add_argument("--source", action="append", default=[], choices=FORMS)
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.folder, given.rows, given.source)
    else:
        case(given.folder, given.source[0], given.rows)


if __name__ == "__main__":
    main()
