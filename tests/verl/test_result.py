"""A checkpoint written by verl's own manager, merged by its own merger, grafted, and taken up by the run."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.verl.conftest import with_this_python

from xreasoner.models.surgery import detach
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.schema import Recipe
from xreasoner.verl.result import import_result


def trained_by_verl(model: Path, out: Path, lora: bool) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name("fsdp_checkpoint.py")
    lines = [[sys.executable, script, model, out, str(r), "2", str(port), str(int(lora))] for r in range(2)]
    ranks = [subprocess.Popen(line, env=with_this_python()) for line in lines]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    (out / "latest_checkpointed_iteration.txt").write_text("29")


@pytest.fixture
def fresh(exported: Path, recipe: Recipe, tmp_path: Path) -> Path:
    shutil.rmtree(recipe.run_dir, ignore_errors=True)
    return shutil.copytree(exported, tmp_path / "export")


def test_shards_become_the_stages_result(fresh: Path, recipe: Recipe, tmp_path: Path) -> None:
    trained_by_verl(fresh / "model", fresh / "checkpoints", lora=False)
    folder = import_result(fresh, None)
    detach(folder / "checkpoint", tmp_path / "again")
    start = load_file(fresh / "model" / "model.safetensors")
    found = load_file(tmp_path / "again" / "model.safetensors")
    assert found.keys() == start.keys()
    for name, weight in start.items():
        # verl's merger writes bfloat16; the vision-language model keeps its own precision.
        assert torch.equal(found[name].float(), (weight.float() * 1.25).bfloat16().float()), name
    (stage,) = make_plan(recipe).stages
    assert stage.status == "done"


def test_an_adapter_is_merged(fresh: Path, tmp_path: Path) -> None:
    trained_by_verl(fresh / "model", fresh / "checkpoints", lora=True)
    folder = import_result(fresh / "checkpoints" / "global_step_29", None)
    start = load_file(fresh / "model" / "model.safetensors")
    found = load_file(folder / "model" / "model.safetensors")
    moved = {
        name
        for name in start
        if not torch.equal(found[name].float(), (start[name] * 1.25).bfloat16().float())
    }
    wanted = {
        f"model.layers.{i}.{part}.weight" for i in (0, 1) for part in ("self_attn.q_proj", "mlp.up_proj")
    }
    assert moved == wanted


def test_hugging_face_weights_are_taken_as_they_are(fresh: Path, recipe: Recipe, tmp_path: Path) -> None:
    merged = shutil.copytree(fresh / "model", tmp_path / "merged")
    folder = import_result(merged, fresh)
    assert (folder / "model" / "model.safetensors").read_bytes() == (
        merged / "model.safetensors"
    ).read_bytes()
    with pytest.raises(ValueError, match="done already"):
        import_result(merged, fresh)


def test_another_recipe_is_refused(fresh: Path, tmp_path: Path) -> None:
    text = (fresh / "recipe.yaml").read_text()
    assert "count: 60" in text
    (fresh / "recipe.yaml").write_text(text.replace("count: 60", "count: 61"))
    with pytest.raises(ValueError, match="changed since the export; export it again"):
        import_result(fresh / "model", fresh)


def test_nothing_to_import(fresh: Path) -> None:
    with pytest.raises(ValueError, match="found no checkpoint of verl here"):
        import_result(fresh, None)
