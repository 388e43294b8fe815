"""`export verl`, `import verl` and `launch`, as typed, where neither verl nor a cluster is there."""

import json
from pathlib import Path

import pytest
import yaml
from tests.verl.conftest import RECIPE
from tests.verl.tiny_qwen import save_tiny_qwen
from typer.testing import CliRunner, Result

from xreasoner.cli.main import app


def typed(*line: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in line])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    save_tiny_qwen(tmp_path / "vlm")
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("MODEL", str(tmp_path / "vlm")))
    return path


def test_export_writes_all_that_a_cluster_needs(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    done = typed("export", "verl", recipe, f"out={tmp_path / 'run'}", "--out", out, "--nodes", "4")
    assert done.exit_code == 0, done.output
    assert "114 problems to train on, 6 held out, for verl 0.9.1" in done.output
    assert f"bash {out / 'train.sh'}" in done.output
    names = {path.name for path in out.iterdir()}
    assert names == {
        "model",
        "train.parquet",
        "held_out.parquet",
        "verl.yaml",
        "agent_loop.yaml",
        "recipe.yaml",
        "train.sh",
        "export.json",
        ".checksums.json",
    }
    settings = yaml.safe_load((out / "verl.yaml").read_text())
    assert (settings["trainer"]["nnodes"], settings["trainer"]["n_gpus_per_node"]) == (4, 8)
    assert json.loads((out / "export.json").read_text())["stage"] == "rl"
    (loop,) = yaml.safe_load((out / "agent_loop.yaml").read_text())
    assert (loop["think_budget"], loop["answer_budget"], loop["forced_exit"]) == (12, 6, True)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["rl.freeze=[embeddings]"], r"rl.freeze: verl trains all weights; export with rl.freeze=\[\]"),
        (["rl.prompts_per_step=200"], "114 problems are fewer than prompts_per_step, which is 200"),
        (["model=miniworld"], "verl cannot train this model"),
        (["stages.rl=null"], "name a GRPO stage with --stage; there are: none"),
    ],
)
def test_what_verl_cannot_train_is_refused(
    recipe: Path, tmp_path: Path, overrides: list[str], complaint: str
) -> None:
    done = typed(
        "export", "verl", recipe, *overrides, f"out={tmp_path / 'run'}", "--out", tmp_path / "export"
    )
    with pytest.raises(ValueError, match=complaint):
        raise done.exception or AssertionError(done.output)
    assert not (tmp_path / "export").exists(), "nothing half written is left"


def test_import_without_verl_says_where_to_merge(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    typed("export", "verl", recipe, f"out={tmp_path / 'run'}", "--out", out)
    actor = out / "checkpoints" / "global_step_4" / "actor"
    actor.mkdir(parents=True)
    (actor / "fsdp_config.json").write_text('{"world_size": 2}')
    (out / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("4")
    done = typed("import", "verl", out)
    with pytest.raises(ValueError, match=f"python -m verl.model_merger merge .* --local_dir {actor}"):
        raise done.exception or AssertionError(done.output)
