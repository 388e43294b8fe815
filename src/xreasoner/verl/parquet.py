"""Problems as the rows of a parquet file that verl's data set reads."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xreasoner.chat.template import problem_prompt
from xreasoner.data.problem_store import from_json, to_json
from xreasoner.records import Problem, Prompt

ROWS_PER_GROUP = 1024

SCHEMA = pa.schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "ability": pa.string(),
        "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
        "extra_info": pa.struct({"index": pa.int64(), "problem": pa.string()}),
    }
)


def write_rows(path: Path, problems: Iterable[Problem], instruction: str | None) -> None:
    with pq.ParquetWriter(path, SCHEMA) as file:
        group: list[dict[str, Any]] = []
        for index, problem in enumerate(problems):
            group.append(to_row(problem, index, instruction))
            if len(group) == ROWS_PER_GROUP:
                file.write_table(pa.Table.from_pylist(group, SCHEMA))
                group = []
        file.write_table(pa.Table.from_pylist(group, SCHEMA))


def to_row(problem: Problem, index: int, instruction: str | None) -> dict[str, Any]:
    """The whole problem travels along: the reward needs its kind and its choices, not the answer alone."""
    asked = replace(problem, reasoning="")
    return {
        "data_source": problem.source or "xreasoner",
        "prompt": to_messages(problem_prompt(problem, instruction)),
        "ability": problem.domain,
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {"index": index, "problem": to_json(asked).decode()},
    }


def problem_of(extra_info: dict[str, Any]) -> Problem:
    return from_json(extra_info["problem"].encode())


def to_messages(prompt: Prompt) -> list[dict[str, str]]:
    """Text alone, which chat templates take as a string."""
    return [
        {"role": message.role, "content": "".join(part for part in message.parts if isinstance(part, str))}
        for message in prompt.messages
    ]
