"""Two processes that see different folders: what one has of a run, and what the other."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.disks.test_copy_files import Content, fill, held, join_with_disks
from tests.train.processes import run_on_ranks

from xreasoner.pipeline.disks_of_a_run import agreed_answers, agreed_plan, inputs_of, locked_on_all_disks
from xreasoner.recipe.file import read_recipe
from xreasoner.storage.journal import Journal

RECIPE = """
name: apart
model: {base}
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [1, 2], count: 20}}]
    filters: {{duplicates: exact}}
    steps: 3
    lr: 1e-3
"""


def agree_on_answers(folders: list[Path]) -> Content:
    folder, world = join_with_disks(folders)
    agreed_answers(folder, world)
    return held(folder)


def test_answers_from_before_a_kill_come_back_if_they_are_of_the_same_model(tmp_path: Path) -> None:
    first, same, other = (tmp_path / name for name in ("first", "same", "other"))
    fill(first, {"manifest.json": b"A", "b.jsonl": b"0\n", "shards/1/b.jsonl": b"1\n"})
    fill(same, {"manifest.json": b"A", "b.jsonl": b"0\n", "shards/1/b.jsonl": b"1\n4\n"})
    fill(same, {"budget-8/shards/1/b.jsonl": b"short\n", "shards/2/b.jsonl": b"of the other\n"})
    fill(other, {"manifest.json": b"B", "shards/2/b.jsonl": b"another model's\n"})
    found, _, gone = run_on_ranks(agree_on_answers, 3, [first, same, other])
    assert found == {
        "manifest.json": b"A",
        "b.jsonl": b"0\n",
        "shards/1/b.jsonl": b"1\n4\n",
        "budget-8/shards/1/b.jsonl": b"short\n",
    }
    assert gone == {}


def plan_apart(folders: list[Path], recipes: list[Path]) -> dict[str, Any]:
    folder, alone = join_with_disks(folders)
    recipe = read_recipe(recipes[alone.rank], [f"out={folder}"])
    with locked_on_all_disks(folder, alone) as world:
        return inputs_of(agreed_plan(recipe, Journal(Console(quiet=True), folder / "log"), (), world))


def test_machines_plan_the_same_run_or_none(tiny_base: Path, tmp_path: Path) -> None:
    folders, recipe = [tmp_path / "a", tmp_path / "b"], tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=tiny_base))
    one, other = run_on_ranks(plan_apart, 2, folders, [recipe] * 2)
    assert one == other
    copied = held(tmp_path / "b" / "data" / "sft")
    assert copied == held(tmp_path / "a" / "data" / "sft")
    assert "problems.jsonl" in copied, "prepared on the first machine only"


def test_another_model_on_another_machine_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text((tiny_base / "config.json").read_text() + "\n")
    recipes = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for recipe, base in zip(recipes, (tiny_base, tmp_path / "other"), strict=True):
        recipe.write_text(RECIPE.format(base=base))
    said = r"rank 1 has another model or other data than the first rank \(model was .*copy them to its"
    with pytest.raises(AssertionError, match=said):
        run_on_ranks(plan_apart, 2, [tmp_path / "a", tmp_path / "b"], recipes)
