"""Rows in the true schema of each corpus, good and malformed, and files of them in every format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

THOUGHT = "<|begin_of_thought|>\n\n{}\n\n<|end_of_thought|>"
SOLUTION = "<|begin_of_solution|>\n\n{}\n\n<|end_of_solution|>"
SYSTEM = "Your role as an assistant involves thoroughly exploring questions."


def chain(question: str, thought: str, solution: str) -> dict[str, Any]:
    """OpenThoughts, default form."""
    reply = THOUGHT.format(thought) + "\n\n" + SOLUTION.format(solution)
    turns = [{"from": "user", "value": question}, {"from": "assistant", "value": reply}]
    return {"system": SYSTEM, "conversations": turns}


def raw_chain(question: str, thought: str, solution: str, truth: str, domain: str = "math") -> dict[str, Any]:
    """OpenThoughts, metadata form."""
    return {
        "problem": question,
        "deepseek_reasoning": thought,
        "deepseek_solution": solution,
        "ground_truth_solution": truth,
        "domain": domain,
        "source": "numina_math",
        "test_cases": None,
        "starter_code": None,
    }


def orz(question: str, answer: str) -> list[dict[str, Any]]:
    truth = {"from": "assistant", "ground_truth": {"value": answer}}
    return [{"from": "human", "value": question}, truth]


def medqa(question: str, options: Sequence[str], letter: str) -> dict[str, Any]:
    lettered = dict(zip("ABCDE", options, strict=False))
    return {
        "question": question,
        "answer": lettered[letter],
        "options": lettered,
        "meta_info": "step1",
        "answer_idx": letter,
    }


def gsm8k(question: str, worked: str, answer: str) -> dict[str, Any]:
    return {"question": question, "answer": f"{worked}\n#### {answer}"}


def chains(count: int) -> list[dict[str, Any]]:
    return [
        chain(
            f"Tom has {i} apples and buys {i + 2} more of them. How many apples does he have in the end?",
            f"He starts with {i}. He buys {i + 2}. So {i} + {i + 2} = {2 * i + 2}.",
            f"He has \\boxed{{{2 * i + 2}}} apples.",
        )
        for i in range(count)
    ]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    """A row given as bytes is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def write_json(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    elements = [row if isinstance(row, bytes) else json.dumps(row, indent=1).encode() for row in rows]
    path.write_bytes(b"[\n" + b",\n".join(elements) + b"\n]\n")
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=3)
    return path


def write_arrow(path: Path, rows: Sequence[dict[str, Any]], indexed: bool = False) -> Path:
    """The stream that `datasets` writes, or the file form with an index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(list(rows))
    new = pyarrow.ipc.new_file if indexed else pyarrow.ipc.new_stream
    with path.open("wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path
