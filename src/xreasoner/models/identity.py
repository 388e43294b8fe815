"""Which model a folder holds: the commit of a model on the hub, the content of any other."""

from pathlib import Path

from xreasoner.storage.file_hash import file_hash
from xreasoner.storage.run_folder import fingerprint

HUB_CACHE = "models--"
"""How the cache of the hub names the folder of a model: models--OWNER--NAME/snapshots/COMMIT."""


def model_identity(folder: Path) -> str:
    """The same on every machine, whatever the times and places of its files."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith(HUB_CACHE):
        name = folder.parent.parent.name.removeprefix(HUB_CACHE).replace("--", "/")
        return f"{name}@{folder.name}"
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_part(path))
    return fingerprint([(path.name, file_hash(path)) for path in files])


def is_part(path: Path) -> bool:
    """Not what a download or a person leaves beside the model."""
    return not path.name.startswith(".") and path.suffix != ".md"
