"""Pictures in a request: data only. The server opens no address that a client names."""

import base64
import io
import re

from PIL import Image

from xreasoner.records import Picture
from xreasoner.serve.refusal import RefusalError

MOST_PIXELS = 50_000_000
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII)
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def picture_of(url: str, param: str) -> Picture:
    head = _DATA_URL.match(url)
    if head is None:
        raise RefusalError(
            400, "pictures come as data URLs (data:image/png;base64,...): this server fetches none", param
        )
    try:
        encoded = base64.b64decode(url[head.end() :], validate=True)
    except ValueError as error:
        raise RefusalError(400, f"the picture is no base64: {error}", param) from None
    _look_at(encoded, param)
    return Picture(encoded)


def _look_at(encoded: bytes, param: str) -> None:
    """Decode it once: a broken one is the client's mistake here, and would be ours later."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels <= MOST_PIXELS:
                image.convert("RGB")
    # Decoders raise whatever they like on bytes made to break them.
    except Exception as error:
        raise RefusalError(400, f"the picture cannot be read: {str(error)[:200]}", param) from None
    if pixels > MOST_PIXELS:
        raise RefusalError(400, f"the picture has {pixels:,} pixels, at most {MOST_PIXELS:,} go", param)
