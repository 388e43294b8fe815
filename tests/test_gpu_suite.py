"""The GPU suite on small models: the same code, so it still runs when a GPU is there at last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data import true_schemas as schemas

from xreasoner.models.surgery import detach

ROOT = Path(__file__).parent.parent


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    rows = [schemas.gsm8k(f"What is {i} + 1?", f"{i} + 1 = {i + 1}", str(i + 1)) for i in range(6)]
    schemas.write_jsonl(tmp_path / "gsm8k" / "train.jsonl", rows[:4])
    schemas.write_jsonl(tmp_path / "gsm8k" / "test.jsonl", rows[4:])
    return tmp_path / "gsm8k"


@pytest.mark.slow
def test_its_small_form_passes(tiny_base: Path, gsm8k: Path, tmp_path: Path) -> None:
    detach(tiny_base, tmp_path / "lm")
    command = [
        *(sys.executable, "-m", "benchmarks.gpu", "--tiny", "--parts", "right,sft,rollouts,grpo,real"),
        *("--model", str(tmp_path / "lm"), "--gsm8k", str(gsm8k), "--out", str(tmp_path / "gpu.json")),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts.keys() == {"right", "sft", "rollouts", "grpo", "real"}
    assert all(line["met"] for line in parts["right"])
    assert all(line["value"] is not None for lines in parts.values() for line in lines)
