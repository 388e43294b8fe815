"""A stand-in for training, for tests of what surrounds it."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from xreasoner.pipeline import run as pipeline
from xreasoner.storage.folders import write_checksums
from xreasoner.storage.state_folders import complete_state, state_folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Instead of training, add the learning rate to every weight; returns what was trained, from where."""
    calls: list[tuple[str, Path]] = []

    def stand_in(settings, start, problems, out, seed, progress, instruction, held_out, world) -> None:
        calls.append((out.name, start))
        shutil.copytree(start, out / "model", dirs_exist_ok=True)
        weights = load_file(start / "model.safetensors")
        changed = {name: weight + settings.lr for name, weight in weights.items()}
        save_file(changed, out / "model" / "model.safetensors", metadata={"format": "pt"})
        write_checksums(out / "model")
        state_folder(out / "state", 2).mkdir(parents=True)
        complete_state(state_folder(out / "state", 2), {"step": 2, "extra": {}})

    monkeypatch.setattr(pipeline, "train_sft", stand_in)
    return calls
