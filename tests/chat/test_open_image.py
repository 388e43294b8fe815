"""Only six formats are decoded, only within the limit, and whatever is wrong with an image is one error."""

import random
import re
from pathlib import Path

import pytest
from PIL import Image
from tests.evals.benchmarks import images

from xreasoner.chat.open_image import FORMATS, ImageError, open_image, pixels_of

SOURCES = Path(__file__).parents[2] / "src"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"


@pytest.mark.parametrize("form", FORMATS)
def test_six_formats_are_read(form: str) -> None:
    encoded = images.plain("red", form=form)
    assert open_image(encoded).convert("RGB").size == (40, 30)
    assert pixels_of(encoded) == 1200


@pytest.mark.parametrize("form", ["PPM", "ICO", "TGA", "SGI", "JPEG2000"])
def test_other_formats_are_not(form: str) -> None:
    with pytest.raises(ImageError, match="not one of PNG, JPEG"):
        open_image(images.plain("red", form=form))


def test_a_drawing_never_starts_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(ImageError, match="not one of PNG, JPEG"):
        open_image(EPS)


def test_a_bomb_is_refused_from_its_header() -> None:
    bomb = images.bomb()
    assert len(bomb) < 100_000
    for read in (open_image, pixels_of):
        with pytest.raises(ImageError, match="12000 x 12000 pixels; the limit is 89,478,485"):
            read(bomb)
    with pytest.raises(ImageError, match="40 x 30 pixels; the limit is 1,000"):
        open_image(images.plain(), most_pixels=1000)


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_images_raise_nothing_else(form: str) -> None:
    rng, whole = random.Random(form), images.encoded(Image.effect_noise((24, 24), 60).convert("RGB"), form)
    for _ in range(150):
        damaged = bytearray(whole[: rng.randrange(8, len(whole) + 1)])
        for _ in range(rng.randrange(6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            open_image(bytes(damaged)).convert("RGB")
        except ImageError as error:
            assert "\n" not in str(error)


def test_images_are_opened_in_one_place() -> None:
    opened = [path for path in SOURCES.rglob("*.py") if re.search(r"\bImage\.open\(", path.read_text())]
    assert [path.name for path in opened] == ["open_image.py"]


def test_an_image_is_decoded_at_once() -> None:
    """A truncated file shows here, and not later where nothing waits for it."""
    with pytest.raises(ImageError):
        open_image(images.cut_off())
