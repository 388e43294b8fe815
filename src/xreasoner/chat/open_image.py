"""Opens images from outside: six formats, a bounded number of pixels, one error for all that is wrong."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Others run other programs (EPS starts Ghostscript) or are seldom tested against hostile files."""
MOST_PIXELS_READ = 89_478_485
"""From here on Pillow warns of decompression bombs: 130 kB of PNG can hold gigabytes of pixels."""

# Of damaged metadata, which does not matter, and of bombs, which are errors here.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageError(ValueError):
    """These bytes are not an image that we read."""


def open_image(encoded: bytes, most_pixels: int = MOST_PIXELS_READ) -> Image.Image:
    """The decoded image."""
    image = _opened(encoded, most_pixels)
    try:
        image.load()
    # Decoders raise almost anything for hostile bytes, SyntaxError and struct.error included.
    except Exception as error:
        raise ImageError(_said(error)) from None
    return image


def pixels_of(encoded: bytes) -> int:
    """From the header, without decoding."""
    image = _opened(encoded, MOST_PIXELS_READ)
    return image.width * image.height


def _opened(encoded: bytes, most_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"not one of {', '.join(FORMATS)}") from None
    except Exception as error:
        raise ImageError(_said(error)) from None
    pixels = image.width * image.height
    if pixels > most_pixels:
        raise ImageError(f"{image.width} x {image.height} pixels; the limit is {most_pixels:,}")
    return image


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
