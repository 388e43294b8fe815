"""From a model's name in a recipe to its folder."""

from pathlib import Path

import pytest

from xreasoner.models.config import has_vision
from xreasoner.models.resolve import resolve_model, short_name


def test_a_folder_is_itself(tiny_base: Path) -> None:
    assert resolve_model(str(tiny_base)) == tiny_base
    assert has_vision(tiny_base)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has no config\.json"):
        resolve_model(str(tmp_path))


def test_what_is_neither_folder_nor_hub_id_is_refused() -> None:
    with pytest.raises(ValueError, match="no such folder, and no Hugging Face Hub id"):
        resolve_model("some model")


def test_names_for_tables(tmp_path: Path) -> None:
    folder = tmp_path / "2-rl" / "checkpoint"
    folder.mkdir(parents=True)
    assert short_name(str(folder)) == "2-rl"
    assert short_name(str(folder.parent)) == "2-rl"
    assert short_name("Qwen/Qwen2.5-VL-7B-Instruct") == "Qwen2.5-VL-7B-Instruct"
    assert short_name("miniworld") == "miniworld"
