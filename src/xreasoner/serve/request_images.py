"""Images in a request, as data URLs only: the server never fetches an address that a client names."""

import base64
import re

from xreasoner.chat.open_image import ImageError, open_image
from xreasoner.records import Picture
from xreasoner.serve.api_error import ApiError

MAX_PIXELS = 50_000_000
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII)


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
        open_image(encoded, MAX_PIXELS).convert("RGB")
    except ImageError as error:
        raise ApiError(400, f"the image cannot be read: {error}", param) from None
