"""The GPU suite on small models: the same code, so it still runs when a GPU is there at last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_its_small_form_passes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts.keys() == {"right", "sft", "rollouts", "grpo"}
    assert all(line["met"] for line in parts["right"])
    assert all(line["value"] is not None for lines in parts.values() for line in lines)
