"""Images as benchmarks store them: bytes, files or members of a zip file, converted where needed."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from xreasoner.data.candidates import BadRowError
from xreasoner.records import Picture

MOST_PIXELS = 1 << 24
"""No known processor uses more pixels, so larger images are scaled down."""
LONGEST_SHAPE = 200
"""Image processors refuse more extreme aspect ratios."""
FOLDERS = ("", "images", "Images", "imgs", "figures")
_ORIENTATION = 0x0112


class Pictures:
    """Finds images by name, in folders near the table or in zip files."""

    def __init__(self, folders: Sequence[Path] = (), archives: Sequence[Path] = ()) -> None:
        self._folders = [folder / inner for folder in folders for inner in FOLDERS]
        beside = [file for folder in folders for file in sorted(folder.glob("*.zip"))]
        self._archives = [*archives, *beside]
        self._open: dict[Path, zipfile.ZipFile] = {}
        self._members: dict[str, tuple[Path, str] | None] | None = None

    def of(self, cell: Any) -> Picture:
        """A row holds a name, bytes, or the `{bytes, path}` of `datasets`."""
        if isinstance(cell, str) and cell.strip():
            return sound_picture(self._named(cell.strip()), cell.strip())
        if isinstance(cell, dict):
            if not cell.get("bytes") and cell.get("path"):
                return self.of(cell["path"])
            cell = cell.get("bytes")
        if not isinstance(cell, bytes) or not cell:
            raise BadRowError("no image", f"the row has {type(cell).__name__} in its place")
        return sound_picture(cell, "the row's own")

    def _named(self, name: str) -> bytes:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadRowError("no image", f"{name} is not inside the copy")
        files = dict.fromkeys(path for folder in self._folders if (path := folder / name).is_file())
        contents = {path.read_bytes() for path in files}
        if len(contents) > 1:
            raise BadRowError("no image", f"{name} may be {' or '.join(map(str, files))}")
        if contents:
            return contents.pop()
        if self._members is None:
            self._members = members_of(self._archives)
        if place := self._members.get(name):
            return self._archive(place[0]).read(place[1])
        raise BadRowError("no image", f"{name} was not found")

    def _archive(self, path: Path) -> zipfile.ZipFile:
        """Kept open: reading the directory of a large archive takes seconds."""
        if path not in self._open:
            self._open[path] = zipfile.ZipFile(path)
        return self._open[path]


def members_of(archives: Sequence[Path]) -> dict[str, tuple[Path, str] | None]:
    """Every member by its path and by each suffix of the path; None for an ambiguous suffix."""
    found: dict[str, tuple[Path, str] | None] = {}
    for path in archives:
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
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            width, height = image.size
            if max(width, height) >= LONGEST_SHAPE * min(width, height):
                raise BadRowError("unusable image", f"{name} has {width} x {height} pixels")
            if _is_plain(image):
                return Picture(encoded)
            return Picture(_as_png(_flattened(image)))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow raises all of these for broken files; our own refusals pass through.
        if isinstance(error, BadRowError):
            raise
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
