"""The GPU suite on small models: the same code, so it still runs when a GPU is there at last."""

import json
from pathlib import Path

import pytest
from benchmarks.gpu.__main__ import main
from tests.data import true_schemas as schemas
from tests.forked import Command

from xreasoner.models.surgery import detach


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    rows = [schemas.gsm8k(f"What is {i} + 1?", f"{i} + 1 = {i + 1}", str(i + 1)) for i in range(6)]
    schemas.write_jsonl(tmp_path / "gsm8k" / "train.jsonl", rows[:4])
    schemas.write_jsonl(tmp_path / "gsm8k" / "test.jsonl", rows[4:])
    return tmp_path / "gsm8k"


@pytest.mark.slow
def test_its_small_form_passes(tiny_base: Path, gsm8k: Path, tmp_path: Path) -> None:
    detach(tiny_base, tmp_path / "lm")
    options = ["--tiny", "--parts", "right,sft,rollouts,grpo,real", "--out", tmp_path / "gpu.json"]
    done = Command(*options, "--model", tmp_path / "lm", "--gsm8k", gsm8k, program=main).wait(timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts.keys() == {"right", "sft", "rollouts", "grpo", "real"}
    assert all(line["met"] for line in parts["right"])
    assert all(line["value"] is not None for lines in parts.values() for line in lines)
