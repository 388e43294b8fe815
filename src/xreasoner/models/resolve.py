"""From a recipe's model name to a local folder."""

import re
from pathlib import Path

MINIWORLD = Path(__file__).parent.parent / "miniworld" / "checkpoint"
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def resolve_model(name: str) -> Path:
    """`miniworld` is the shipped base; else a folder, or a model id of the Hugging Face Hub."""
    if name == "miniworld":
        return _checkpoint(MINIWORLD, f"make it with: xreasoner miniworld base {MINIWORLD}")
    if Path(name).exists():
        return _checkpoint(Path(name), "name the folder of a Hugging Face checkpoint")
    if not HUB_ID.match(name):
        raise ValueError(f"model {name}: no such folder, and no Hugging Face Hub id (owner/name) either")
    return _download(name)


def short_name(name: str) -> str:
    """The name of a model in a table. For the checkpoint of a stage, the stage."""
    path = Path(name).resolve() if Path(name).exists() else Path(name)
    return path.parent.name if path.name in ("checkpoint", "model") else path.name


def _checkpoint(folder: Path, remedy: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ValueError(f"model {folder}: it has no config.json; {remedy}")
    return folder


def _download(name: str) -> Path:
    # These import an HTTP stack that a local model does not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=["*.bin", "*.pt", "*.pth", "*.gguf"]))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(f"model {name}: not loaded from the Hub: {str(error).splitlines()[0]}") from None
