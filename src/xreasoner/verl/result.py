"""Bring a checkpoint of verl back: find it, merge its shards, and make it the stage's result in the run."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from xreasoner.models.surgery import graft
from xreasoner.pipeline.run import prepare_folder
from xreasoner.pipeline.stage_status import PlannedStage
from xreasoner.pipeline.stages import Plan, make_plan
from xreasoner.recipe.file import read_recipe
from xreasoner.storage.files import write_json
from xreasoner.storage.folders import discard, folder_written_atomically, write_checksums
from xreasoner.storage.run_folder import locked
from xreasoner.verl.export import NOTE, VERL, grpo_stage

LATEST = "latest_checkpointed_iteration.txt"
SHARDS = "fsdp_config.json"
ADAPTER = "lora_adapter"


def import_result(checkpoint: Path, export: Path | None) -> Path:
    """The folder of the stage, now done: the next `xreasoner run` of the recipe evaluates it."""
    export = export or export_of(checkpoint)
    found = find_weights(checkpoint)
    note = json.loads((export / NOTE).read_text())
    recipe = read_recipe(export / "recipe.yaml")
    with locked(recipe.run_dir):
        plan = make_plan(recipe)
        stage = grpo_stage(plan, note["stage"])
        refuse_another_stage(stage, note["fingerprint"], export)
        prepare_folder(stage, plan.run_dir)
        with folder_written_atomically(stage.folder / "model") as model:
            collect_weights(found, model)
        write_json(stage.folder / "trained_by.json", {"verl": VERL, "checkpoint": str(found.resolve())})
        finish_stage(stage, plan)
    return stage.folder


def export_of(checkpoint: Path) -> Path:
    places = [checkpoint, *checkpoint.resolve().parents]
    found = [place for place in places if (place / NOTE).is_file()]
    if not found:
        raise ValueError(f"{checkpoint}: no exported folder around it; name one with --export")
    return found[0]


def find_weights(checkpoint: Path) -> Path:
    """The folder with shards or Hugging Face weights, given an export, its `checkpoints`, or one step."""
    folder = checkpoint
    if (folder / NOTE).is_file():
        folder = folder / "checkpoints"
    if (folder / LATEST).is_file():
        folder = folder / f"global_step_{(folder / LATEST).read_text().strip()}"
    if (folder / "actor").is_dir():
        folder = folder / "actor"
    if any((folder / "huggingface").glob("*.safetensors")):
        return folder / "huggingface"
    if (folder / SHARDS).is_file() or any(folder.glob("*.safetensors")):
        return folder
    raise ValueError(
        f"{checkpoint}: found no checkpoint of verl here; "
        "name the folder of an export, a global_step, or merged Hugging Face weights"
    )


def refuse_another_stage(stage: PlannedStage, fingerprint: str, export: Path) -> None:
    if stage.status == "done":
        raise ValueError(f"{stage.folder}: this stage is done already; move it away to import another result")
    if stage.manifest.fingerprint != fingerprint:
        raise ValueError(
            f"{export}: the data, the model or the stages before {stage.name} changed since the export; "
            "export it again"
        )


def collect_weights(found: Path, out: Path) -> None:
    """A plain Hugging Face folder, adapters merged."""
    if (found / SHARDS).is_file():
        merge_shards(found, out)
    else:
        shutil.copytree(found, out, dirs_exist_ok=True)
    if (out / ADAPTER).is_dir():
        merge_adapter(out)


def merge_shards(actor: Path, out: Path) -> None:
    line = ["-m", "verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(actor)]
    if find_spec("verl") is None:
        raise ValueError(
            f"{actor}: verl itself must merge these shards. Run this command in verl's environment, or run "
            f"`python {' '.join(line)} --target_dir MERGED` there and then import MERGED"
        )
    done = subprocess.run([sys.executable, *line, "--target_dir", str(out)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(
            f"{actor}: verl could not merge these shards: {done.stderr.strip().splitlines()[-1]}"
        )


def merge_adapter(folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", trust_remote_code=False)
    merged = PeftModel.from_pretrained(model, str(folder / ADAPTER)).merge_and_unload()
    merged.save_pretrained(folder)
    shutil.rmtree(folder / ADAPTER)


def finish_stage(stage: PlannedStage, plan: Plan) -> None:
    if plan.sees:
        discard(stage.folder / "checkpoint")
        graft(plan.base, stage.folder / "model", stage.folder / "checkpoint")
    write_checksums(stage.folder)
    replace(stage.manifest, state="done").write(stage.folder)
