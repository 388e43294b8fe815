"""A GRPO stage on a tiny Qwen2.5-VL, exported for verl. Only `make test-verl` has verl."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.verl.tiny_qwen import save_tiny_qwen

from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import Recipe
from xreasoner.verl.export import export_stage
from xreasoner.verl.trainer_settings import Machines

collect_ignore_glob = [] if find_spec("verl") else ["test_*.py"]

RECIPE = """
name: small
model: MODEL
seed: 3
instruction: think then answer
stages:
  rl:
    kind: grpo
    data:
      - {source: miniworld, families: [sums, bars], steps: [2, 4], count: 60}
    epochs: 2
    prompts_per_step: 8
    samples_per_prompt: 4
    updates_per_batch: 2
    lr: 3e-4
    warmup: 0.1
    kl: 0.01
    clip_high: 0.3
    think_budget: 12
    answer_budget: 6
    tokens_per_microbatch: 512
    held_out: 6
    eval_every: 5
    checkpoint_every: 4
"""


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("recipe")
    save_tiny_qwen(folder / "vlm")
    (folder / "small.yaml").write_text(RECIPE.replace("MODEL", str(folder / "vlm")))
    return read_recipe(folder / "small.yaml", [f"out={folder / 'run'}"])


@pytest.fixture(scope="session")
def exported(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a user exports it, but for the chat template: it opens the thought, so that all budgets are met."""
    out = tmp_path_factory.mktemp("verl") / "export"
    export_stage(recipe, None, out, Machines(nodes=1, gpus=1), lambda line: None)
    template = out / "model" / "chat_template.jinja"
    opened = template.read_text().replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    assert opened != template.read_text()
    template.write_text(opened)
    return out


@pytest.fixture(scope="session")
def config(exported: Path) -> Any:
    """What the exported line gives verl: composed by verl's own entry point."""
    from omegaconf import OmegaConf

    found = subprocess.run(
        ["bash", str(exported / "train.sh"), "--cfg", "job"],
        env=with_this_python(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return OmegaConf.create(yaml.safe_load(found.stdout))


def with_this_python() -> dict[str, str]:
    import os

    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
