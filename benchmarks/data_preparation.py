"""Rows a second and peak memory of each source and filter on a synthetic corpus of true size and length.

python benchmarks/data_preparation.py make /tmp/corpus --rows 113957     # 2.4 GB
python benchmarks/data_preparation.py measure /tmp/corpus --rows 113957
python benchmarks/data_preparation.py decontamination
python benchmarks/data_preparation.py training-memory
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.packing import plan_steps
from xreasoner.data.prepare import prepare
from xreasoner.data.store import Store
from xreasoner.data.tokens import TokenStore, token_store
from xreasoner.models.load import load_tokenizer
from xreasoner.recipe_file import check
from xreasoner.records import Problem

CHARACTERS_A_TOKEN = 3.5
MEAN_TOKENS, SPREAD = 6000, 0.75
"""Chains are log-normal in length: many of 2-5 thousand tokens, a tail to 16 thousand and beyond."""
SYLLABLES = [consonant + vowel for consonant in "bdklmn" for vowel in "aeiou"]
MATHS = ["\\frac{1}{2}", "x^2 + 3x", "\\(n-1\\)", "17", "2024", "= 36", "\\sqrt{5}", "$a_i$", "π/4", "≤"]


def vocabulary(rng: random.Random) -> list[str]:
    words = {"".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(20_000)}
    return sorted(words) + MATHS * 200


class Writer:
    """Text of a given length, cheap to make: slices of one long random text, each begun elsewhere."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        words = self.rng.choices(vocabulary(self.rng), k=2_000_000)
        self.some = words[:80_000]
        self.text = " ".join(words).replace(" ba ", ".\n\n")

    def __call__(self, characters: int) -> str:
        start = self.rng.randrange(len(self.text) - characters - 1)
        return self.text[start : start + characters]

    def fresh(self, words: int) -> str:
        return " ".join(self.rng.choices(self.some, k=words))


def rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    writer, lengths = Writer(seed), np.random.default_rng(seed)
    sigma = SPREAD
    mean = np.log(MEAN_TOKENS) - sigma**2 / 2
    for number in range(count):
        tokens = min(32_000, float(lengths.lognormal(mean, sigma)))
        thought = writer(int(tokens * CHARACTERS_A_TOKEN))
        yield {
            "problem": f"Problem {number}: {writer.fresh(40)} {number % 97}?",
            "deepseek_reasoning": thought,
            "deepseek_solution": f"{writer(600)} \\boxed{{{number}}}",
            "ground_truth_solution": f"So \\boxed{{{number}}}.",
            "domain": "math",
            "source": "synthetic",
            "test_cases": None,
            "starter_code": None,
        }


def make(folder: Path, count: int) -> None:
    """Six parquet files, as on the hub; and a benchmark of 12,000 questions."""
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, pa.string()) for name in next(rows(1))])
    stream, part = rows(count), -(-count // 6)
    for number in range(6):
        path = folder / "metadata" / f"train-{number:05}-of-00006.parquet"
        with pq.ParquetWriter(path, schema) as out:
            for start in range(0, part, 1000):
                some = [row for _, row in zip(range(min(1000, part - start)), stream, strict=False)]
                if some:
                    out.write_table(pa.Table.from_pylist(some, schema))
    writer = Writer(99)
    with (folder / "bench.jsonl").open("w") as file:
        for number in range(12_000):
            file.write(json.dumps({"question": writer.fresh(45), "answer": str(number)}) + "\n")
    make_tokenizer(folder)


def make_tokenizer(folder: Path) -> None:
    """A byte-level BPE with Qwen's splitting, trained on the same text: its speed is what matters."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from xreasoner.miniworld.tokenizer import CHAT_TEMPLATE

    split = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=12_000, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False
    )
    backend.train_from_iterator([Writer(1)(2_000_000)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder / "base")


# --- measuring: each case in its own process, so that its peak is its own ---------------------------------

TOKENISED = "token store and plan of the steps"
CASES: dict[str, dict[str, Any]] = {
    "read only": {},
    "keep all, written": {"duplicates": "keep", "decontaminate": False},
    "exact duplicates": {"duplicates": "exact", "decontaminate": False},
    "near duplicates": {"duplicates": "near", "decontaminate": False},
    "decontaminated": {"duplicates": "keep", "decontaminate": True},
    "verified": {"duplicates": "keep", "decontaminate": False, "verified": True},
    "everything": {"duplicates": "near", "decontaminate": True, "verified": True, "max_tokens": 16384},
    TOKENISED: {},
}


def measure(folder: Path, count: int, only: list[str]) -> None:
    """Each case with an eighth of the rows, which shows whether memory grows with them, and with all."""
    from side_by_side import alone, entry, record

    for name in only or CASES:
        found = []
        for limit in (count // 8, count):
            command = [sys.executable, __file__, "case", str(folder), "--rows", str(limit), "--case", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}, {limit:,} rows: {found[-1]}", flush=True)
        eighth, whole = found
        speed, title = whole["rows"] / whole["processor_seconds"], f"data, {count:,} chains: {name}"
        peer = f"the same, {eighth['rows']:,} chains"
        memory = ([whole["peak_mib"]], [eighth["peak_mib"]], peer, "MiB at most", "flat", False)
        record([alone(title, speed, "rows/CPU second", "minutes"), entry(f"{title}, memory", *memory)])


def case(folder: Path, name: str, limit: int) -> None:
    from xreasoner.data.sources import training_problems
    from xreasoner.recipe import JsonlData
    from xreasoner.recipe_data import OpenThoughtsData

    data = {"source": "openthoughts", "config": "metadata", "path": str(folder), "limit": limit}
    tests = training_problems([JsonlData(source="jsonl", path=folder / "bench.jsonl")], 0)
    worked, began = processor_seconds(), time.monotonic()
    if name == "read only":
        kept = sum(1 for _ in read_corpus(OpenThoughtsData(**data)))  # type: ignore[arg-type]
    elif name == TOKENISED:
        problems = prepared(folder, "keep all, written", data, tests)
        worked, began = processor_seconds(), time.monotonic()
        kept = tokenised(folder, problems)
    else:
        kept = len(prepared(folder, name, data, tests))
    measured = {
        "rows": limit,
        "kept": kept,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(processor_seconds() - worked, 1),
        "peak_mib": round(peak_mib()),
    }
    print(json.dumps(measured))


def processor_seconds() -> float:
    """Of this process and of those it waited for, such as graders."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def prepared(folder: Path, name: str, data: dict[str, Any], tests: list[Problem]) -> Store:
    stage = {"kind": "sft", "epochs": 1, "data": [data], "filters": CASES[name]}
    raw = {"name": "b", "model": "m", "out": str(folder / "run" / name), "stages": {"sft": stage}}
    return prepare(check(raw, "benchmark"), "sft", folder / "base", {"bench": tests}, lambda line: None)


def tokenised(folder: Path, problems: Store) -> int:
    """The store of tokens that training reads, and its plan of four epochs."""
    tokenizer = load_tokenizer(folder / "base")
    with tempfile.TemporaryDirectory(dir=folder) as out:
        store = token_store(problems, None, tokenizer, Path(out, "tokens"), lambda line: None)
        plan_steps(store.lengths, 524_288, seed=0, epochs=4)
        return len(store)


# --- decontamination: what is found, and what is found wrongly --------------------------------------------


def other_numbers(text: str) -> str:
    return " ".join(str(int(word) + 1) if word.isdigit() else word for word in text.split())


MANNERS: dict[str, Callable[[str, Writer], str]] = {
    "exact": lambda text, writer: text,
    "re-cased": lambda text, writer: text.upper(),
    "re-spaced": lambda text, writer: text.replace(" ", "  \n"),
    "re-punctuated": lambda text, writer: text.replace(" ", ", "),
    "numbers changed": lambda text, writer: other_numbers(text),
    "one word changed": lambda text, writer: " ".join([*text.split()[:20], "other", *text.split()[21:]]),
    "within a longer text": lambda text, writer: f"{writer.fresh(100)} {text} {writer.fresh(100)}",
}


def decontamination(planted: int = 1000, disjoint: int = 20_000) -> None:
    from xreasoner.data.contamination import Contamination

    writer, other = Writer(3), Writer(4)
    asked = [f"{writer.fresh(45)} 12 and 7 ?" for _ in range(12_000)]
    index = Contamination({"bench": [Problem(str(i), (text,), "1", "math") for i, text in enumerate(asked)]})
    for manner, change in MANNERS.items():
        kinds: Counter[str] = Counter()
        for number in range(planted):
            leak = index.find(Problem("x", (change(asked[number], other),), "1", "math"))
            kinds[leak.kind if leak and leak.test_id == str(number) else "missed"] += 1
        print(f"{manner:22} {dict(kinds)}", flush=True)
    wrong, began = 0, time.monotonic()
    for _ in range(disjoint):
        thought = other(21_000)
        wrong += index.find(Problem("x", (other.fresh(45),), "1", "math", reasoning=thought)) is not None
    seconds = time.monotonic() - began
    print(f"disjoint text: {wrong} of {disjoint:,} found wrongly, {disjoint / seconds:,.0f} chains/s")


# --- what training holds of a corpus ----------------------------------------------------------------------


def training_memory(count: int, steps_read: int = 60) -> None:
    """Tokens on disk as SFT leaves them there (zeros, which cost no disk), planned and read step by step."""
    from side_by_side import alone, record

    lengths_N = np.random.default_rng(0).lognormal(np.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD, count)
    lengths_N = np.minimum(32_000, lengths_N).astype(np.int64)
    ends_N, prompts_N = np.cumsum(lengths_N), np.full(count, 60)
    spans_N4 = np.stack([ends_N - lengths_N, prompts_N, ends_N - lengths_N + 60, lengths_N - 60], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder, "ids.int32")
        with ids.open("wb") as file:
            file.truncate(int(ends_N[-1]) * 4)
        before, worked = peak_mib(), processor_seconds()
        store = TokenStore(ids, spans_N4)
        plan = plan_steps(store.lengths, 524_288, seed=0, epochs=4)
        planned = peak_mib()
        read = sum(len(store[index].ids) for step in plan[:steps_read] for index in step)
        seconds = processor_seconds() - worked
    title = f"SFT, {count:,} chains of {ends_N[-1] / 1e6:,.0f} M tokens"
    record(
        [
            alone(f"{title}: memory of lengths and of the plan of 4 epochs", planned - before, "MiB", "flat"),
            alone(f"{title}: added by reading {read / 1e6:.0f} M of them", peak_mib() - planned, "MiB", "0"),
            alone(f"{title}: read", read / seconds, "tokens/CPU second", ""),
        ]
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["make", "measure", "case", "decontamination", "training-memory"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("corpus"))
    parser.add_argument("--rows", type=int, default=113_957)
    parser.add_argument("--case", action="append", default=[])
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, given.rows)
    elif given.what == "measure":
        measure(given.folder, given.rows, given.case)
    elif given.what == "case":
        case(given.folder, given.case[0], given.rows)
    elif given.what == "training-memory":
        training_memory(given.rows)
    else:
        decontamination()


if __name__ == "__main__":
    main()
