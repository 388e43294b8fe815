"""A run starts torchrun itself; where a rank is killed, it starts all again, and nothing else differs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from safetensors.torch import load_file
from tests.train.processes import run_on_ranks

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.storage.state_folders import complete_states

RECIPE = """
name: restarted
model: {base}
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [1, 2], count: 40}}]
    steps: 20
    lr: 1e-3
    tokens_per_step: 512
    checkpoint_every: 2
"""


def run(recipe: Path, out: Path) -> None:
    run_recipe(read_recipe(recipe, [f"out={out}"]), Console(quiet=True))


def process_of(rank: int, torchrun: int) -> int:
    """torchrun's children carry their rank in the environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        found = re.search(rb"(?:^|\0)RANK=(\d+)", environment)
        if parent == torchrun and found and int(found[1]) == rank:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow  # three times two processes import everything
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks through Linux's /proc")
def test_a_killed_rank_is_started_again_and_the_run_ends_as_an_unbroken_one(
    tiny_base: Path, tmp_path: Path
) -> None:
    recipe, out, unbroken = tmp_path / "restarted.yaml", tmp_path / "out", tmp_path / "unbroken"
    recipe.write_text(RECIPE.format(base=tiny_base))
    command = ["run", str(recipe), "--out", str(out), "--gpus", "2", "--restarts", "1"]
    line = [sys.executable, "-m", "xreasoner", *command]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    with (tmp_path / "log").open("w") as log:
        torchrun = subprocess.Popen(
            line, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT
        )
        state = out / "stages" / "1-sft" / "state"
        while not complete_states(state):
            assert torchrun.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.kill(process_of(1, torchrun.pid), signal.SIGKILL)
        assert torchrun.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert said.startswith("2 CPU processes: starting torchrun with one process for each; --gpus 1 uses")
    assert "sft: resuming after step" in said
    assert said.count("sft: done in") == 1, "only the first rank reports"
    run_on_ranks(run, 2, recipe, unbroken)
    found, expected = (
        load_file(folder / "stages" / "1-sft" / "model" / "model.safetensors") for folder in (out, unbroken)
    )
    assert found.keys() == expected.keys()
    assert all(found[name].equal(weight) for name, weight in expected.items())
