"""Images are kept byte for byte if they are plain, and converted to an upright opaque PNG otherwise."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from tests.evals.benchmarks import images

from xreasoner.data.candidates import BadRowError
from xreasoner.evals.benchmarks.image_files import MOST_PIXELS, Pictures, sound_picture


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(sound_picture(encoded, "it").encoded))


def test_plain_images_stay_the_bytes_they_are() -> None:
    grey = images.encoded(Image.new("L", (40, 30), 9))
    for encoded in (images.plain(), images.plain(form="JPEG"), grey):
        assert sound_picture(encoded, "it").encoded == encoded


def test_what_is_transparent_becomes_white() -> None:
    image = opened(images.half_transparent())
    assert (image.mode, image.getpixel((5, 5)), image.getpixel((35, 5))) == (
        "RGB",
        (0, 0, 0),
        (255, 255, 255),
    )
    palette = opened(images.palette_transparent())
    assert (palette.getpixel((5, 5)), palette.getpixel((35, 5))) == ((255, 255, 255), (0, 0, 255))


@pytest.mark.parametrize(
    ("image", "form", "shown"),
    [
        (Image.new("P", (40, 30), 0), "GIF", (0, 0, 0)),
        (Image.new("1", (40, 30), 1), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (Image.new("LA", (40, 30), (0, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGB", (40, 30), (0, 128, 255)), "BMP", (0, 128, 255)),
        (Image.new("RGB", (40, 30), (0, 128, 255)), "TIFF", (0, 128, 255)),
    ],
    ids=["palette", "one bit", "cmyk", "grey with alpha", "bmp", "tiff"],
)
def test_other_modes_and_formats_become_plain_png(image: Image.Image, form: str, shown: tuple[int]) -> None:
    made = opened(images.encoded(image, form))
    assert (made.format, made.mode, made.size) == ("PNG", "RGB", (40, 30))
    assert all(abs(a - b) <= 2 for a, b in zip(made.getpixel((3, 3)), shown, strict=True))


def test_sixteen_bits_are_spread_over_eight() -> None:
    image = opened(images.sixteen_bits())
    assert (image.getpixel((5, 5)), image.getpixel((35, 5))) == ((0, 0, 0), (255, 255, 255))
    flat = opened(images.encoded(Image.new("I;16", (40, 30), 700)))
    assert flat.getpixel((0, 0)) == (0, 0, 0)


def test_an_image_that_lies_is_put_upright() -> None:
    assert opened(images.lying()).size == (30, 40)


def test_a_huge_image_is_scaled_to_what_models_look_at() -> None:
    image = opened(images.huge())
    assert image.width * image.height <= MOST_PIXELS
    assert image.width / image.height == pytest.approx(6000 / 3000, rel=1e-3)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (images.cut_off(), "broken image"),
        (b"GIF89a", "broken image"),
        (b"<html>404</html>", "broken image"),
        (images.plain(size=(1, 400)), "unusable image"),
    ],
    ids=["cut off", "header only", "a web page", "a line"],
)
def test_what_cannot_be_shown_says_why(encoded: bytes, reason: str) -> None:
    with pytest.raises(BadRowError) as caught:
        sound_picture(encoded, "x.png")
    assert caught.value.reason == reason
    assert caught.value.detail.startswith("x.png")


def test_images_are_found_by_name_in_folders_and_archives(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(images.plain("red"))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("imgs/one/source.jpg", images.plain("green"))
        archive.writestr("imgs/two/source.jpg", images.plain("blue"))
        archive.writestr("deep/b.png", images.plain("white"))
    pictures = Pictures([tmp_path])
    assert pictures.of("a.png").encoded == images.plain("red")
    assert pictures.of("one/source.jpg").encoded == images.plain("green")
    assert pictures.of("two/source.jpg").encoded == images.plain("blue")
    assert pictures.of("b.png").encoded == images.plain("white")
    with pytest.raises(BadRowError, match="no image"):
        pictures.of("source.jpg")  # two are called so


def test_the_images_of_one_item_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.evals.benchmarks.image_files.MOST_ITEM_PIXELS", 3 * 40 * 30)
    cells = [images.plain(color) for color in ("red", "green", "blue", "white")]
    assert len(list(Pictures().of_item(cells[:3]))) == 3
    with pytest.raises(BadRowError, match="unusable image"):
        list(Pictures().of_item(cells))


def test_an_image_that_links_out_of_the_folder_is_refused_but_not_one_in_the_hubs_cache(
    tmp_path: Path,
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1f").write_bytes(images.plain())
    cached, other = tmp_path / "snapshots" / "abc", tmp_path / "other" / "abc"
    for folder in (cached, other):
        folder.mkdir(parents=True)
        (folder / "a.png").symlink_to("../../blobs/1f")
    assert Pictures([cached]).of("a.png").encoded == images.plain()
    with pytest.raises(BadRowError) as caught:
        Pictures([other]).of("a.png")
    assert caught.value.detail == f"a.png is outside {other}; name its folder in image_folders"


def test_archives_outside_the_folder_are_not_opened_and_broken_ones_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.png", images.plain())
    (data / "more.zip").symlink_to(tmp_path / "other.zip")
    with pytest.raises(BadRowError, match="no image"):
        Pictures([data]).of("a.png")
    (data / "broken.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"broken\.zip: not a zip file"):
        Pictures([data]).of("a.png")


def test_files_and_members_that_are_far_too_large_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xreasoner.evals.benchmarks.image_files.LARGEST_FILE", 1000)
    (tmp_path / "a.png").write_bytes(bytes(1001))
    with zipfile.ZipFile(tmp_path / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.png", bytes(1001))
    for name in ("a.png", "b.png"):
        with pytest.raises(BadRowError) as caught:
            Pictures([tmp_path]).of(name)
        assert caught.value.detail.endswith("has 1,001 bytes; the limit is 1,000")


def test_cells_hold_bytes_names_or_both(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(images.plain("red"))
    pictures = Pictures([tmp_path])
    for cell in ("a.png", {"bytes": None, "path": "a.png"}, {"bytes": images.plain("red"), "path": "gone"}):
        assert pictures.of(cell).encoded == images.plain("red")
    for cell in (None, "", {"bytes": None, "path": None}, 7):
        with pytest.raises(BadRowError, match="no image"):
            pictures.of(cell)
