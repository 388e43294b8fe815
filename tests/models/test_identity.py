"""Which model a folder holds: by commit from the hub, else by content, never by time or place."""

import os
from pathlib import Path

from xreasoner.models.identity import model_identity


def model(folder: Path, weights: bytes = b"w" * 3_000_000) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_local_model_is_known_by_its_content(tmp_path: Path) -> None:
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    os.utime(two / "model.safetensors", (1, 1))
    (two / "README.md").write_text("a note")
    (two / ".gitattributes").write_text("")
    assert model_identity(one) == model_identity(two)
    assert model_identity(one) != model_identity(model(tmp_path / "three", b"w" * 2_999_999 + b"v"))
    (two / "config.json").write_text("{ }")
    assert model_identity(one) != model_identity(two)


def test_a_model_of_the_hub_is_known_by_its_commit(tmp_path: Path) -> None:
    snapshots = "models--Qwen--Qwen2.5-VL-7B-Instruct/snapshots/cc594898"
    first, again = model(tmp_path / "a" / snapshots), model(tmp_path / "b" / snapshots, b"other bytes")
    assert model_identity(first) == model_identity(again) == "Qwen/Qwen2.5-VL-7B-Instruct@cc594898"
