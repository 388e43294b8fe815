"""The pictures of a run inside the reader's folder: linked if a browser can show them, else made smaller."""

import os
import shutil
from pathlib import Path

from xreasoner.chat.open_image import pixels_of
from xreasoner.report.cards import thumbnail
from xreasoner.storage.files import remove, unfinished

SHOWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
MOST_PIXELS = 16_000_000


def place_picture(pictures: Path, name: str, out: Path) -> str | None:
    """Its name in `out`; None if it is missing or not an image."""
    path = pictures / name
    if name != path.name:
        return None  # of another folder
    try:
        encoded = path.read_bytes()
        small = path.suffix not in SHOWN_BY_BROWSERS or pixels_of(encoded) > MOST_PIXELS
        made = thumbnail(encoded) if small else None
    except (OSError, ValueError):  # ImageError is one; so is a name with a NUL character
        return None
    target = out / (f"{path.stem}.small.jpg" if made else name)
    if not target.exists():
        out.mkdir(parents=True, exist_ok=True)
        beside = unfinished(target)
        remove(beside)
        try:
            if made:
                beside.write_bytes(made)
            else:
                link(path, beside)
            beside.replace(target)
        except BaseException:
            remove(beside)
            raise
    return target.name


def link(path: Path, target: Path) -> None:
    """A hard link takes no room; other disks get a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
