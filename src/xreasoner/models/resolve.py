"""From what a recipe calls a model to a folder on this disk."""

import re
from pathlib import Path

MINIWORLD = Path(__file__).parent.parent / "miniworld" / "checkpoint"
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def resolve_model(name: str) -> Path:
    """`miniworld` is the shipped base; else a folder, else the id of a model on the Hugging Face hub."""
    if name == "miniworld":
        return _checkpoint(MINIWORLD, f"make it with: xreasoner miniworld base {MINIWORLD}")
    if Path(name).exists():
        return _checkpoint(Path(name), "name the folder of a Hugging Face checkpoint")
    if not HUB_ID.match(name):
        raise ValueError(f"model {name}: no such folder, and no hub id either (those look like owner/name)")
    return _download(name)


def short_name(name: str) -> str:
    """What to call a model in a table; of a stage's checkpoint the stage."""
    path = Path(name).resolve() if Path(name).exists() else Path(name)
    return path.parent.name if path.name in ("checkpoint", "model") else path.name


def _checkpoint(folder: Path, remedy: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ValueError(f"model {folder}: there is no config.json in it; {remedy}")
    return folder


def _download(name: str) -> Path:
    # These bring in an HTTP stack that a local model does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=["*.bin", "*.pt", "*.pth", "*.gguf"]))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(f"model {name}: the hub did not give it: {str(error).splitlines()[0]}") from None
