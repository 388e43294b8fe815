"""Whatever an image file holds: a plain picture, or a bad row."""

import io
import random

from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from tests.evals.benchmarks import images

from xreasoner.chat.open_image import FORMATS, open_image
from xreasoner.data.candidates import BadRowError
from xreasoner.evals.benchmarks.image_files import sound_picture

MODES = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "TIFF": ("RGB", "CMYK", "F", "I;16"),
    "GIF": ("P",),
}


def whole(form: str) -> list[bytes]:
    noise = Image.frombytes("RGB", (9, 7), random.Random(form).randbytes(9 * 7 * 3))
    modes = MODES.get(form, ("RGB", "L"))
    made = [Image.new("I;16", (9, 7), 900) if mode == "I;16" else noise.convert(mode) for mode in modes]
    return [images.encoded(image, form) for image in made]


WHOLE = [encoded for form in FORMATS for encoded in whole(form)]


@given(
    st.sampled_from(WHOLE),
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
)
@example(images.bomb(), 10**6, [])
@example(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", 10**6, [])
@example(images.cut_off(), 10**6, [])
def test_damaged_images(encoded: bytes, length: int, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(encoded[:length] if length else encoded)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        picture = sound_picture(bytes(damaged), "x.png")
    except BadRowError as bad:
        assert "\n" not in f"{bad}{bad.detail}"
        return
    shown = open_image(picture.encoded)
    assert shown.format in ("PNG", "JPEG") and shown.mode in ("RGB", "L")


@given(st.binary(max_size=100))
def test_any_bytes(encoded: bytes) -> None:
    try:
        sound_picture(encoded, "x")
    except BadRowError:
        return
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.format in FORMATS
