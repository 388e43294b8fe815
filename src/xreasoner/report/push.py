"""A trained stage as a folder or hub repository that anyone can load, with its model card and results."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from xreasoner.data.hub import ask_hub
from xreasoner.models.config import has_vision
from xreasoner.models.image_support import reads_videos
from xreasoner.models.side_files import new_folder
from xreasoner.report.model_card import model_card, without_private
from xreasoner.report.results import collect, read_evaluations, read_recipe, stage_order
from xreasoner.storage.files import sweep_for
from xreasoner.storage.folders import refuse_damaged, temporary_folder
from xreasoner.storage.run_folder import read_manifest, stage_folders

FAILED = (
    "could not push to {} on the Hugging Face Hub: {}; log in with `hf auth login`, or write it with --out"
)
PRIVATE = ("manifest.json",)
"""Files of ours in a checkpoint's folder that mean nothing elsewhere; so do hidden ones."""


def write_release(run_dir: Path, stage: str | None, name: str, out: Path) -> None:
    """Write what others get to a new folder `out`; `name` is what the model card calls the model."""
    stage, folder = finished_stage(run_dir, stage)
    checkpoint = next(path for path in (folder / "checkpoint", folder / "model") if path.is_dir())
    refuse_damaged(checkpoint, f"train it again with --redo {stage}")
    recipe = read_recipe(run_dir)
    has_results = read_evaluations(run_dir, stage_order(run_dir))
    results = collect(run_dir) if has_results else None
    with new_folder(out) as release:
        for file in checkpoint.iterdir():
            if file.is_file() and not file.name.startswith(".") and file.name not in PRIVATE:
                shutil.copyfile(file, release / file.name)
        if (folder / "model" / "adapter").is_dir():
            shutil.copytree(folder / "model" / "adapter", release / "adapter")
        card = model_card(recipe, stage, results, has_vision(checkpoint), name, reads_videos(checkpoint))
        (release / "README.md").write_text(card, encoding="utf-8")
        public = yaml.safe_dump(without_private(recipe), sort_keys=False, allow_unicode=True)
        (release / "recipe.yaml").write_text(public, encoding="utf-8")
        if (run_dir / "results.json").is_file():
            shutil.copyfile(run_dir / "results.json", release / "results.json")


def finished_stage(run_dir: Path, stage: str | None) -> tuple[str, Path]:
    """The named stage, by default the last one."""
    folders = stage_folders(run_dir)
    if not folders:
        raise ValueError(f"{run_dir}: no trained stage; run its recipe first")
    stage = stage or list(folders)[-1]
    if stage not in folders:
        raise ValueError(f"{run_dir}: no stage {stage!r}; there are {', '.join(folders)}")
    manifest = read_manifest(folders[stage])
    if manifest is None or manifest.state != "done":
        raise ValueError(f"{run_dir}: stage {stage} is not finished; run its recipe again")
    return stage, folders[stage]


def push(run_dir: Path, stage: str | None, repository: str, public: bool) -> str:
    """Upload a stage to the hub and return its address."""
    sweep_for(run_dir / "pushed")
    with temporary_folder(run_dir / "pushed") as temporary:
        release = temporary / "release"
        write_release(run_dir, stage, repository, release)

        def upload(hub: Any) -> str:
            url = hub.create_repo(repository, private=not public, exist_ok=True)
            hub.upload_folder(repo_id=repository, folder_path=release)
            return str(url)

        return ask_hub(repository, upload, FAILED)
