"""Images in a request, as data URLs only: the server never fetches an address that a client names."""

import base64
import io
import re

from PIL import Image

from xreasoner.records import Picture
from xreasoner.serve.api_error import ApiError

MAX_PIXELS = 50_000_000
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII)
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_image(url: str, param: str) -> Picture:
    head = _DATA_URL.match(url)
    if head is None:
        raise ApiError(
            400, "images must be data URLs (data:image/png;base64,...): this server fetches none", param
        )
    try:
        encoded = base64.b64decode(url[head.end() :], validate=True)
    except ValueError as error:
        raise ApiError(400, f"the image is not valid base64: {error}", param) from None
    _check_image(encoded, param)
    return Picture(encoded)


def _check_image(encoded: bytes, param: str) -> None:
    """Decode the image now, so that a broken one is rejected here and does not fail in the engine."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels <= MAX_PIXELS:
                image.convert("RGB")
    # Decoders may raise anything on malicious bytes.
    except Exception as error:
        raise ApiError(400, f"the image cannot be read: {str(error)[:200]}", param) from None
    if pixels > MAX_PIXELS:
        raise ApiError(400, f"the image has {pixels:,} pixels; the limit is {MAX_PIXELS:,}", param)
