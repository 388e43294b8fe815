"""Reads a reader's folder as the page does, and writes rollouts as training does."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

CALL = "xreasonerReader."


def read_index(out: Path) -> dict[str, Any]:
    content = (out / "answers.js").read_text()
    assert content.startswith(f"{CALL}index(") and content.endswith(")\n")
    found: dict[str, Any] = json.loads(json.loads(content[len(f"{CALL}index(") : -2]))
    return found


def column(packed: str, kind: str) -> list[int]:
    return [int(value) for value in np.frombuffer(base64.b64decode(packed), f"<{kind}")]


def read_chunk(out: Path, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    content = (out / "text" / f"{name}.js").read_text()
    assert content.startswith(f'{CALL}chunk("{name}","') and content.endswith('")\n')
    packed = content[len(f'{CALL}chunk("{name}","') : -3]
    facts, *texts = zlib.decompress(base64.b64decode(packed)).decode().split("\0")
    return json.loads(facts), texts


def read_answers_of(out: Path) -> list[dict[str, Any]]:
    """Every answer of the index, with its texts."""
    index = read_index(out)
    items, answers = index["items"], index["answers"]
    start, benchmark = column(items["start"], "u4"), column(items["benchmark"], "u2")
    asked = list(zip(column(items["chunk"], "u4"), column(items["row"], "u2"), strict=True))
    kinds = {"lane": "u2", "sample": "u2", "verdict": "u1", "flags": "u1", "think": "u4"}
    kinds |= {"chunk": "u4", "row": "u2", "said": "u4"}
    columns = {name: column(answers[name], kind) for name, kind in kinds.items()}
    chunks = [read_chunk(out, name) for name in index["chunks"]]
    found = []
    for item in range(len(items["ids"])):
        for answer in range(start[item], start[item + 1]):
            one = {name: values[answer] for name, values in columns.items()}
            facts, texts = chunks[one["chunk"]]
            question, questions = chunks[asked[item][0]]
            found.append(
                {
                    "benchmark": index["benchmarks"][benchmark[item]]["name"],
                    "id": items["ids"][item],
                    "stage": index["lanes"][one["lane"]]["name"],
                    "sample": one["sample"],
                    "verdict": index["verdicts"][one["verdict"]],
                    "flags": one["flags"],
                    "think": one["think"],
                    "said": index["said"][one["said"]],
                    "facts": facts[one["row"]],
                    "text": texts[one["row"]],
                    "asked": question[asked[item][1]],
                    "question": questions[asked[item][1]],
                }
            )
    return found


ROLLOUT = {
    "id": "a",
    "sample": 0,
    "question": "1 + 1?",
    "gold": "2",
    "text": "<think>\nso 2\n</think>\n<answer>2</answer>",
    "extracted": "2",
    "correct": True,
    "why": "the last <answer>",
    "rewards": {"correct": 1.0},
    "advantage": 0.5,
    "forced": False,
    "stop": "eos",
    "think_tokens": 2,
}


def write_rollouts(run_dir: Path, step: int, *changes: dict[str, Any]) -> Path:
    """The samples of a GRPO stage `rl`."""
    path = run_dir / "stages" / "2-rl" / "samples" / f"step-{step:06}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(ROLLOUT | one) + "\n" for one in changes))
    return path
