"""A stand-in for training, for tests of what surrounds it."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from xreasoner.pipeline import run as pipeline
from xreasoner.storage.files import write_json
from xreasoner.storage.state_folders import NOTE, state_folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Instead of training, add the learning rate to every weight; returns what was trained, from where."""
    calls: list[tuple[str, Path]] = []

    def stand_in(settings, start, problems, out, seed, progress, instruction, held_out) -> None:
        calls.append((out.name, start))
        shutil.copytree(start, out / "model", dirs_exist_ok=True)
        weights = load_file(start / "model.safetensors")
        changed = {name: weight + settings.lr for name, weight in weights.items()}
        save_file(changed, out / "model" / "model.safetensors", metadata={"format": "pt"})
        write_json(state_folder(out / "state", 2) / NOTE, {"step": 2})

    monkeypatch.setattr(pipeline, "train_sft", stand_in)
    return calls
