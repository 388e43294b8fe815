"""Images as benchmarks store them: bytes, files or members of a zip file, converted where needed.

A table may come from anywhere, so its names only reach files in the benchmark's own folders, links resolved.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from xreasoner.chat.open_image import open_image, pixels_of
from xreasoner.data.candidates import BadRowError
from xreasoner.records import Picture

MOST_PIXELS = 1 << 24
"""No known processor uses more pixels, so larger images are scaled down."""
MOST_ITEM_PIXELS = 8 * MOST_PIXELS
"""Of all images of one item together."""
LARGEST_FILE = 256 << 20
"""Bytes of an encoded image."""
LONGEST_SHAPE = 200
"""Image processors refuse more extreme aspect ratios."""
FOLDERS = ("", "images", "Images", "imgs", "figures")
_ORIENTATION = 0x0112


class Pictures:
    """Finds images by name, in folders near the table or in zip files."""

    def __init__(self, folders: Sequence[Path] = (), archives: Sequence[Path] = ()) -> None:
        self._folders = [folder / inner for folder in folders for inner in FOLDERS]
        self._roots = [root for folder in folders for root in _roots(folder)]
        beside = [file for folder in folders for file in sorted(folder.glob("*.zip")) if self._is_ours(file)]
        self._archives = [*archives, *beside]
        self._open: dict[Path, zipfile.ZipFile] = {}
        self._members: dict[str, tuple[Path, str] | None] | None = None

    def of(self, cell: Any) -> Picture:
        """A row holds a name, bytes, or the `{bytes, path}` of `datasets`."""
        if isinstance(cell, str) and cell.strip():
            return sound_picture(self._named(cell.strip()), _shown(cell.strip()))
        if isinstance(cell, dict):
            if not cell.get("bytes") and isinstance(cell.get("path"), str):
                return self.of(cell["path"])
            cell = cell.get("bytes")
        if not isinstance(cell, bytes) or not cell:
            raise BadRowError("no image", f"the row has {type(cell).__name__} in its place")
        return sound_picture(cell, "the row's own")

    def of_item(self, cells: Iterable[Any]) -> Iterator[Picture]:
        """All images of one item, which are in memory together when it is asked."""
        total = 0
        for cell in cells:
            picture = self.of(cell)
            total += pixels_of(picture.encoded)
            if total > MOST_ITEM_PIXELS:
                raise BadRowError("unusable image", f"its images have more than {MOST_ITEM_PIXELS:,} pixels")
            yield picture

    def _named(self, name: str) -> bytes:
        files = [file for folder in self._folders if (file := _regular_file(folder, name))]
        inside = list(dict.fromkeys(filter(self._is_ours, files)))
        if files and not inside:
            places = ", ".join(dict.fromkeys(map(str, self._roots)))
            raise BadRowError(
                "no image", f"{_shown(name)} is outside {places}; name its folder in image_folders"
            )
        contents = {_read_file(file) for file in inside}
        if len(contents) > 1:
            raise BadRowError("no image", f"{name} may be {' or '.join(map(str, inside))}")
        if contents:
            return contents.pop()
        if self._members is None:
            self._members = members_of(self._archives)
        if place := self._members.get(name):
            return _read_member(self._archive(place[0]), place[1])
        raise BadRowError("no image", f"{_shown(name)} was not found")

    def _is_ours(self, file: Path) -> bool:
        real = Path(os.path.realpath(file))
        return any(real.is_relative_to(root) for root in self._roots)

    def _archive(self, path: Path) -> zipfile.ZipFile:
        """Kept open: reading the directory of a large archive takes seconds."""
        if path not in self._open:
            self._open[path] = zipfile.ZipFile(path)
        return self._open[path]


def _roots(folder: Path) -> Iterator[Path]:
    """The folder; and for a snapshot in the hub's cache, whose files are links, the blobs beside it."""
    real = Path(os.path.realpath(folder))
    yield real
    for inner in (real, *real.parents):
        if inner.parent.name == "snapshots" and (blobs := inner.parent.parent / "blobs").is_dir():
            yield blobs


def _regular_file(folder: Path, name: str) -> Path | None:
    """As it is named, links not resolved; None if there is no such file."""
    file = folder / name
    try:
        return file if Path(os.path.realpath(file)).is_file() else None
    except (OSError, ValueError):  # a name that is too long, or has a NUL character
        return None


def _read_file(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise BadRowError("unusable image", f"{file} has {size:,} bytes; the limit is {LARGEST_FILE:,}")
        return file.read_bytes()
    except OSError as error:
        raise BadRowError("no image", f"{file} cannot be read: {error.strerror}") from None


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        size = archive.getinfo(name).file_size  # zipfile never reads more
        if size > LARGEST_FILE:
            raise BadRowError("unusable image", f"{name} has {size:,} bytes; the limit is {LARGEST_FILE:,}")
        return archive.read(name)
    # Encrypted members and unknown compressions are RuntimeErrors.
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadRowError("no image", f"{name} in {archive.filename}: {error}") from None


def _shown(name: str) -> str:
    """In an error; a hostile name may be long, or have line breaks."""
    return name if len(name) <= 200 and name.isprintable() else f"{name[:200]!r}"


def members_of(archives: Sequence[Path]) -> dict[str, tuple[Path, str] | None]:
    """Every member by its path and by each suffix of the path; None for an ambiguous suffix."""
    found: dict[str, tuple[Path, str] | None] = {}
    for path in archives:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path}: not a zip file, though it is named like one; remove or repair it")
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                for end in _ends(name):
                    found[end] = None if end in found else (path, name)
    return found


def _ends(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def sound_picture(encoded: bytes, name: str) -> Picture:
    """The bytes unchanged if every model and server can read them, else a plain PNG."""
    try:
        with open_image(encoded) as image:
            width, height = image.size
            if max(width, height) >= LONGEST_SHAPE * min(width, height):
                raise BadRowError("unusable image", f"{name} has {width} x {height} pixels")
            return Picture(encoded if _is_plain(image) else _as_png(_flattened(image)))
    except BadRowError:
        raise
    # Metadata and conversions raise almost anything for hostile bytes, as decoders do.
    except Exception as error:
        raise BadRowError("broken image", f"{name}: {str(error)[:120]}") from None


def _is_plain(image: Image.Image) -> bool:
    return (
        image.format in ("PNG", "JPEG")
        and image.mode in ("RGB", "L")
        and "transparency" not in image.info
        and image.width * image.height <= MOST_PIXELS
        and image.getexif().get(_ORIENTATION, 1) == 1
    )


def _flattened(image: Image.Image) -> Image.Image:
    """Upright RGB on a white background, within MOST_PIXELS."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    pixels = image.width * image.height
    if pixels > MOST_PIXELS:
        scale = (MOST_PIXELS / pixels) ** 0.5
        image = image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales the range of a 16-bit scan to 8 bits, as an image viewer does."""
    image = image.convert("F")
    low, high = image.getextrema()
    assert isinstance(low, float) and isinstance(high, float)
    scale = 255 / (high - low) if high > low else 0.0
    return image.point(lambda value: value * scale - low * scale).convert("L")


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
