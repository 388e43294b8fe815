"""Two processes with sharded weights against one: the same loss, the same training, the same checkpoint."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.train.test_sft import settings
from transformers import AutoModelForCausalLM

from xreasoner.records import Problem
from xreasoner.train.progress import Silent
from xreasoner.train.sft import train_sft

pytestmark = pytest.mark.slow

TRAIN = """
import sys
from pathlib import Path
from xreasoner.recipe import SftStage
from xreasoner.records import Problem
from xreasoner.train.progress import Silent
from xreasoner.train.sft import train_sft
start, out, settings, problems = sys.argv[1:]
problems = [Problem(i, (q,), a, "exact", reasoning=r) for i, q, a, r in __import__("json").loads(problems)]
train_sft(SftStage.model_validate_json(settings), Path(start), problems, Path(out), 0, Silent())
"""


def run_on_two(start: Path, out: Path, steps: int, problems: list[Problem]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = json.dumps([(p.id, p.question[0], p.answer, p.reasoning) for p in problems])
    chosen = settings(steps=steps, lr=1e-3).model_dump_json(by_alias=True)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(start), str(out), chosen, told],
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def read_metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_as_one_and_resume(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train_sft(settings(steps=5, lr=1e-3), start, problems, one, 0, Silent())
    run_on_two(start, two, 5, problems)
    first = read_metrics(two)
    for key in ("loss", "grad_norm"):
        assert [line[key] for line in first] == pytest.approx(
            [line[key] for line in read_metrics(one)], rel=1e-4
        )
    trained = AutoModelForCausalLM.from_pretrained(two / "model").state_dict()
    expected = AutoModelForCausalLM.from_pretrained(one / "model").state_dict()
    torch.testing.assert_close(trained, expected, rtol=1e-3, atol=1e-4)

    # From the state after step 4 only the last step is done again, to the last bit.
    run_on_two(start, two, 5, problems)
    again = AutoModelForCausalLM.from_pretrained(two / "model").state_dict()
    assert all(torch.equal(trained[name], again[name]) for name in trained)
    assert read_metrics(two)[:4] == first[:4]
