"""Meaningless corpora with the schema, size and lengths of the real ones.

python benchmarks/synthetic_corpora.py openthoughts-metadata CORPUS --rows 113957     # 1.4 GB
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

CHARACTERS_A_TOKEN = 3.5
MEAN_TOKENS, SPREAD, LONGEST = 6000, 0.75, 32_000
"""Chains are log-normal in length: many of 2-5 thousand tokens, a tail to 16 thousand and beyond."""
SYLLABLES = [consonant + vowel for consonant in "bdklmn" for vowel in "aeiou"]
MATHS = ["\\frac{1}{2}", "x^2 + 3x", "\\(n-1\\)", "17", "2024", "= 36", "\\sqrt{5}", "$a_i$", "π/4", "≤"]
ROWS_TOGETHER = 1000


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


def vocabulary(rng: random.Random) -> list[str]:
    words = {"".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(20_000)}
    return sorted(words) + MATHS * 200


def chain_lengths(count: int, seed: int = 0) -> list[int]:
    """In tokens."""
    drawn = np.random.default_rng(seed).lognormal(np.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD, count)
    return np.minimum(LONGEST, drawn).astype(np.int64).tolist()


# --- one row of each form ---------------------------------------------------------------------------------


def raw_chain(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    return {
        "problem": f"Problem {number}: {writer.fresh(40)} {number % 97}?",
        "deepseek_reasoning": writer(int(tokens * CHARACTERS_A_TOKEN)),
        "deepseek_solution": f"{writer(600)} \\boxed{{{number}}}",
        "ground_truth_solution": f"So \\boxed{{{number}}}.",
        "domain": "math",
        "source": "synthetic",
        "test_cases": None,
        "starter_code": None,
    }


def conversation(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    thought, solution = writer(int(tokens * CHARACTERS_A_TOKEN)), f"{writer(600)} \\boxed{{{number}}}"
    reply = (
        f"<|begin_of_thought|>\n\n{thought}\n\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{solution}\n\n<|end_of_solution|>"
    )
    question = f"Problem {number}: {writer.fresh(40)} {number % 97}?"
    turns = [{"from": "user", "value": question}, {"from": "assistant", "value": reply}]
    return {"system": writer(900), "conversations": turns}


def orz_pair(number: int, writer: Writer, tokens: int) -> list[dict[str, Any]]:
    truth = {"from": "assistant", "ground_truth": {"value": str(number)}}
    return [{"from": "human", "value": f"{writer.fresh(55)} {number}?"}, truth]


def vignette(number: int, writer: Writer, options: str) -> dict[str, Any]:
    texts = {letter: f"{writer.fresh(3)} {letter}" for letter in options}
    answer = options[number % len(options)]
    return {
        "question": f"A {number % 90}-year-old man. {writer.fresh(115)}?",
        "answer": texts[answer],
        "options": texts,
        "meta_info": "step1",
        "answer_idx": answer,
    }


def medqa_of_the_hub(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    return vignette(number, writer, "ABCD") | {"metamap_phrases": writer.fresh(40).split()}


def medqa_original(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    return vignette(number, writer, "ABCDE")


def school_problem(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    worked = f"{writer.fresh(45)} {number}*2=<<{number}*2={2 * number}>>{2 * number}."
    return {"question": f"{writer.fresh(45)} {number}?", "answer": f"{worked}\n#### {2 * number}"}


def own_row(number: int, writer: Writer, tokens: int) -> dict[str, Any]:
    thought = writer(int(tokens * CHARACTERS_A_TOKEN))
    return {"question": f"{writer.fresh(40)} {number}?", "answer": str(number), "reasoning": thought}


@dataclass(frozen=True)
class Form:
    file: str
    """Where it lies in its folder; several parts where it has a place for the number of the part."""
    row: Callable[[int, Writer, int], Any]
    entry: dict[str, Any]
    """How a recipe names it, apart from the path."""
    rows_a_group: int = ROWS_TOGETHER
    """Of parquet."""

    @property
    def parts(self) -> list[str]:
        return [self.file.format(part) for part in range(6)] if "{" in self.file else [self.file]


PARTS = "train-{:05}-of-00006.parquet"
FORMS: dict[str, Form] = {
    "openthoughts-metadata": Form(
        f"metadata/{PARTS}", raw_chain, {"source": "openthoughts", "config": "metadata"}
    ),
    "openthoughts-default": Form(f"data/{PARTS}", conversation, {"source": "openthoughts"}),
    "orz-math": Form("orz_math_57k_collected.json", orz_pair, {"source": "orz-math"}),
    "medqa-hub": Form("phrases_no_exclude_train.jsonl", medqa_of_the_hub, {"source": "medqa"}),
    "medqa-original": Form("questions/US/train.jsonl", medqa_original, {"source": "medqa"}),
    "gsm8k": Form("main/train-00000-of-00001.parquet", school_problem, {"source": "gsm8k"}),
    "own-jsonl": Form("mine.jsonl", own_row, {"source": "table"}),
    # pandas puts up to a million rows into one group.
    "own-parquet": Form("mine.parquet", own_row, {"source": "table"}, rows_a_group=1 << 20),
}


# --- files ------------------------------------------------------------------------------------------------


def write_corpus(form: Form, folder: Path, count: int) -> None:
    writer, lengths = Writer(0), chain_lengths(count)
    rows = (form.row(number, writer, tokens) for number, tokens in enumerate(lengths))
    for part in form.parts:
        path = folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix](path, islice(rows, -(-count // len(form.parts))), form.rows_a_group)


def write_parquet(path: Path, rows: Iterator[Any], rows_a_group: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, file = [], None
    while some := list(islice(rows, ROWS_TOGETHER)):
        tables.append(pa.Table.from_pylist(some, tables[0].schema if tables else None))
        file = file or pq.ParquetWriter(path, tables[0].schema)
        if sum(table.num_rows for table in tables) >= rows_a_group:
            file.write_table(pa.concat_tables(tables), row_group_size=rows_a_group)
            tables = [tables[0].slice(0, 0)]
    assert file
    file.write_table(pa.concat_tables(tables), row_group_size=rows_a_group)
    file.close()


def write_lines(path: Path, rows: Iterator[Any], rows_a_group: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_list(path: Path, rows: Iterator[Any], rows_a_group: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write((",\n" if number else "[\n") + json.dumps(row, ensure_ascii=False, indent=1))
        file.write("\n]\n")


WRITERS: dict[str, Callable[[Path, Iterator[Any], int], None]] = {
    ".parquet": write_parquet,
    ".jsonl": write_lines,
    ".json": write_list,
}


def write_benchmark(folder: Path, count: int = 12_000) -> None:
    """Questions to keep out, as many as MMLU-Pro has."""
    writer = Writer(99)
    rows = ({"question": writer.fresh(45), "answer": str(number)} for number in range(count))
    write_lines(folder / "bench.jsonl", rows, 0)


def write_tokenizer(folder: Path) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=113_957)
    given = parser.parse_args()
    write_corpus(FORMS[given.form], given.folder, given.rows)


if __name__ == "__main__":
    main()
