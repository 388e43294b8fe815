"""The same stages trained by several real processes, as torchrun would start them."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.records import Problem

TRAIN = """
import json, sys
from pathlib import Path
from pydantic import TypeAdapter
from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.step_display import NoDisplay
from xreasoner.train.sft import train_sft

start, out, stages, problems, held_out = sys.argv[1:]
problems = [Problem(i, (q,), a, "exact", reasoning=r) for i, q, a, r in json.loads(problems)]
for name, settings in TypeAdapter(dict[str, SftStage | GrpoStage]).validate_json(stages).items():
    if isinstance(settings, SftStage):
        train_sft(settings, Path(start), problems, Path(out, name), 0, NoDisplay())
    else:
        held = problems[: int(held_out)]
        train_grpo(settings, Path(start), problems, held, Path(out, name), 0, NoDisplay())
"""


def train_on(
    start: Path,
    out: Path,
    stages: Mapping[str, SftStage | GrpoStage],
    problems: list[Problem],
    held_out: int = 0,
    processes: int = 2,
) -> None:
    """Each stage from `start` to its folder in `out`, one after the other in the same processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = json.dumps([(p.id, p.question[0], p.answer, p.reasoning) for p in problems])
    chosen = json.dumps(
        {name: stage.model_dump(mode="json", by_alias=True) for name, stage in stages.items()}
    )
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(start), str(out), chosen, told, str(held_out)],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors


def read_metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
