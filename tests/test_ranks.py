"""The pipeline on several ranks: two processes share the work and get the results of one."""

import json
from pathlib import Path

import pytest
import torch.distributed as dist
from rich.console import Console
from tests.train.processes import run_on_ranks

from xreasoner.parallel import ending_together, gather_shares, join_world, leave_world, rejoining
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe

RECIPE = """
name: ranks
model: {base}
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [1, 2], count: 40}}]
    steps: 3
    lr: 1e-3
    tokens_per_step: 1024
    tokens_per_microbatch: 256
evaluation:
  think_budget: 8
  answer_budget: 4
  benchmarks: [{{source: miniworld, families: [sums, bars], steps: [1, 2], count: 6}}]
"""


def losses(out: Path) -> list[float]:
    lines = (out / "stages" / "1-sft" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def answers_of_the_base(out: Path) -> dict[str, bytes]:
    """They are the same whoever asks; each rank asks some of the questions."""
    found = {path.name: path.read_bytes() for path in (out / "evals" / "base").glob("*.jsonl")}
    assert sorted(found) == ["bars-image.jsonl", "bars-text.jsonl", "sums-image.jsonl", "sums-text.jsonl"]
    return found


def work_and_leave() -> tuple[list[int], bool, list[int]]:
    world = join_world()
    with ending_together(world):
        first = gather_shares([world.rank], world)
    with rejoining(world):
        leave_world()
        left = not dist.is_initialized()
    return first, left, gather_shares([world.rank + 10], world)


def test_a_world_that_was_left_has_no_groups_and_meets_again_on_another_port() -> None:
    assert run_on_ranks(work_and_leave, 2) == [([0, 1], True, [10, 11])] * 2


def run_here(recipe: Path, out: Path, *changes: str) -> None:
    run_recipe(read_recipe(recipe, [*changes, f"out={out}"]), Console(quiet=True))


@pytest.mark.slow
def test_three_and_four_ranks_write_the_answers_of_one(tiny_base: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "ranks.yaml"
    recipe.write_text(RECIPE.format(base=tiny_base))
    run_here(recipe, tmp_path / "1", "sft=null")
    for processes in (3, 4):
        run_on_ranks(run_here, processes, recipe, tmp_path / f"{processes}", "sft=null")
        assert answers_of_the_base(tmp_path / f"{processes}") == answers_of_the_base(tmp_path / "1")


@pytest.mark.slow
def test_two_ranks_come_to_the_same_as_one(tiny_base: Path, tmp_path: Path) -> None:
    recipe, one, two = tmp_path / "ranks.yaml", tmp_path / "one", tmp_path / "two"
    recipe.write_text(RECIPE.format(base=tiny_base))
    run_here(recipe, one)
    run_on_ranks(run_here, 2, recipe, two)
    assert len(losses(one)) == 3
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert answers_of_the_base(two) == answers_of_the_base(one)
    rows = json.loads((two / "results.json").read_text())["results"]
    assert {(row["stage"], row["benchmark"]) for row in rows} == {
        (stage, f"{family}-{view}")
        for stage in ("base", "sft")
        for family in ("sums", "bars")
        for view in ("text", "image")
    }
