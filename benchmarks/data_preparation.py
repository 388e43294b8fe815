"""Rows per second and peak memory of each filter, on a synthetic corpus of realistic size and length.

python benchmarks/data_preparation.py measure CORPUS --rows 113957     # writes the corpus first, 1.4 GB
python benchmarks/data_preparation.py training-memory

`--tokenizer MODEL` takes the tokenizer of a model in place of one trained on the corpus.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from apart import peak_mib, print_measured, processor_seconds, record_growth
from synthetic_corpora import FORMS, chain_lengths, write_benchmark, write_corpus, write_tokenizer
from xreasoner.data.prepare import prepare
from xreasoner.data.problem_store import ProblemStore
from xreasoner.data.sources import training_problems
from xreasoner.data.steps import cut_steps
from xreasoner.data.token_store import TokenStore, token_store
from xreasoner.models.load import load_tokenizer
from xreasoner.recipe.file import check
from xreasoner.recipe.training_data import JsonlData

TOKENISED = "token store and plan of the steps"
PLAIN: dict[str, Any] = {"duplicates": "keep", "decontaminate": False}
CASES: dict[str, dict[str, Any]] = {
    "keep all, written": PLAIN,
    "exact duplicates": PLAIN | {"duplicates": "exact"},
    "near duplicates": PLAIN | {"duplicates": "near"},
    "length by tokens": PLAIN | {"max_tokens": 16384},
    "thoughts required": PLAIN | {"thoughts": "required"},
    "pass rates": PLAIN | {"pass_rates": {"file": "rates.jsonl"}},
    "verified": PLAIN | {"verified": True},
    "decontaminated": PLAIN | {"decontaminate": True},
    "everything": {"duplicates": "near", "decontaminate": True, "verified": True, "max_tokens": 16384},
    TOKENISED: PLAIN,
}
"""By name, the filters; the first reads, estimates the lengths and writes, which all the others do too."""


def make(folder: Path, rows: int) -> None:
    write_corpus(FORMS["openthoughts-metadata"], folder, rows)
    write_benchmark(folder)
    write_tokenizer(folder)


def write_rates(path: Path, rows: int) -> None:
    """Each ninth of them is never solved, and another always."""
    with path.open("w") as file:
        for number in range(rows):
            rate = {"id": f"openthoughts-{number + 1:06}", "rate": number % 9 / 8, "samples": 8}
            file.write(json.dumps(rate) + "\n")


def measure(folder: Path, rows: int, only: list[str], tokenizer: Path | None) -> None:
    if not (folder / "base").exists():
        make(folder, rows)
    if tokenizer:
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copyfile(tokenizer / name, folder / "base" / name)
    write_rates(folder / "rates.jsonl", rows)
    for name in only or CASES:
        record_growth(f"data, {rows:,} chains: {name}", __file__, rows, str(folder), "--case", name)


def case(folder: Path, name: str, rows: int) -> None:
    """The run directory goes again: what is prepared already would be measured as taking no time."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        if name == TOKENISED:
            problems = prepared(folder, name, rows, Path(out))
            print_measured(rows, lambda: tokenised(folder, problems, Path(out)))
        else:
            print_measured(rows, lambda: len(prepared(folder, name, rows, Path(out))))


def prepared(folder: Path, name: str, rows: int, out: Path) -> ProblemStore:
    data = {"source": "openthoughts", "config": "metadata", "path": str(folder), "limit": rows}
    filters = CASES[name]
    if "pass_rates" in filters:
        filters = filters | {"pass_rates": {"file": str(folder / "rates.jsonl")}}
    stage = {"kind": "sft", "epochs": 1, "data": [data], "filters": filters}
    recipe = check({"name": "b", "model": "m", "out": str(out), "stages": {"sft": stage}}, "benchmark")
    tests = training_problems([JsonlData(source="jsonl", path=folder / "bench.jsonl")], 0)
    return prepare(recipe, "sft", folder / "base", {"bench": tests}, lambda line: None)


def tokenised(folder: Path, problems: ProblemStore, out: Path) -> int:
    """The store of tokens that training reads, and its plan of four epochs."""
    store = token_store(problems, None, load_tokenizer(folder / "base"), out / "tokens", lambda line: None)
    cut_steps(store.lengths, 524_288, seed=0, epochs=4)
    return len(store)


# --- what training holds of a corpus ----------------------------------------------------------------------


def training_memory(rows: int, steps_read: int = 60) -> None:
    """Tokens on disk as SFT leaves them there (zeros, which cost no disk), planned and read step by step."""
    from side_by_side import alone, record

    lengths_N = np.array(chain_lengths(rows))
    ends_N, prompts_N = np.cumsum(lengths_N), np.full(rows, 60)
    spans_N4 = np.stack([ends_N - lengths_N, prompts_N, ends_N - lengths_N + 60, lengths_N - 60], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder, "ids.int32")
        with ids.open("wb") as file:
            file.truncate(int(ends_N[-1]) * 4)
        before, worked = peak_mib(), processor_seconds()
        store = TokenStore(ids, spans_N4)
        plan = cut_steps(store.lengths, 524_288, seed=0, epochs=4)
        planned = peak_mib()
        read = sum(len(store[index].ids) for step in plan[:steps_read] for index in step)
        seconds = processor_seconds() - worked
    title = f"SFT, {rows:,} chains of {ends_N[-1] / 1e6:,.0f} M tokens"
    record(
        [
            alone(
                f"{title}: memory of the lengths and of the schedule of 4 epochs",
                planned - before,
                "MiB",
                "flat",
            ),
            alone(
                f"{title}: memory added by reading {read / 1e6:.0f} M of them",
                peak_mib() - planned,
                "MiB",
                "0",
            ),
            alone(f"{title}: reading", read / seconds, "tokens/CPU second", ""),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["measure", "case", "training-memory"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("corpus"))
    parser.add_argument("--rows", type=int, default=113_957)
    parser.add_argument("--case", action="append", default=[], choices=CASES)
    parser.add_argument("--tokenizer", type=Path)
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.folder, given.rows, given.case, given.tokenizer)
    elif given.what == "case":
        case(given.folder, given.case[0], given.rows)
    else:
        training_memory(given.rows)


if __name__ == "__main__":
    main()
