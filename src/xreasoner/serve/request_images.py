"""Images in a request, as data URLs only: the server never fetches an address that a client names."""

import base64
import re

from xreasoner.chat.open_image import ImageError, open_image
from xreasoner.records import Picture
from xreasoner.serve.api_error import ApiError

MAX_IMAGES = 16
MAX_PIXELS = 40_000_000
"""Of all images of a request: they are decoded together, and a small PNG can hold very many."""
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII)


class RequestImages:
    """Reads the images of one request within its limits."""

    def __init__(self) -> None:
        self._images, self._pixels = 0, 0

    def read(self, url: str, param: str) -> Picture:
        """Decodes the image now, so that a broken one is rejected here and does not fail in the engine."""
        self._images += 1
        if self._images > MAX_IMAGES:
            raise ApiError(400, f"a request may have at most {MAX_IMAGES} images", "messages")
        encoded = _decoded(url, param)
        try:
            image = open_image(encoded, MAX_PIXELS - self._pixels)
        except ImageError as error:
            before = f", of which the images before it have {self._pixels:,}" if self._pixels else ""
            limit = f" (a request may have {MAX_PIXELS:,} pixels{before})" if "pixels" in str(error) else ""
            raise ApiError(400, f"the image cannot be read: {error}{limit}", param) from None
        self._pixels += image.width * image.height
        return Picture(encoded)


def _decoded(url: str, param: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None:
        raise ApiError(
            400, "images must be data URLs (data:image/png;base64,...): this server fetches none", param
        )
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except ValueError as error:
        raise ApiError(400, f"the image is not valid base64: {error}", param) from None
