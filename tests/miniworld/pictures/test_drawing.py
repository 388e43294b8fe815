"""Pictures: what is shown can be told from the pixels, looks of the splits are apart, seeds repeat."""

import random

import numpy as np
import pytest
from PIL import Image

from xreasoner.miniworld.base.encode import patches_of
from xreasoner.miniworld.base.lessons import jumble
from xreasoner.miniworld.model import build_image_processor
from xreasoner.miniworld.pictures import drawing
from xreasoner.miniworld.pictures.appearance import (
    ACCENTS,
    FONTS,
    INKS,
    PAPERS,
    SHADES,
    SIZES,
    one_look,
    pick_appearance,
)
from xreasoner.miniworld.pictures.charts import draw_chart
from xreasoner.miniworld.pictures.drawing import draw_picture, in_rows, on_grid
from xreasoner.miniworld.pictures.fonts import STROKES, WOBBLE, shifted, smooth, text_mask
from xreasoner.miniworld.pictures.symbols import symbol
from xreasoner.miniworld.pictures.worlds import LEVELS
from xreasoner.miniworld.problems import make_items
from xreasoner.miniworld.scene import CELL, Cell, Scene, alphabet

FREE = LEVELS[-1]
SPLITS = ("train", "dev", "test")


def test_no_font_size_or_colour_is_in_two_splits() -> None:
    for table in (FONTS, SIZES, PAPERS, INKS, ACCENTS):
        values = [value for split in SPLITS for value in table[split]]
        assert len(values) == len(set(values))
    for colour in SHADES["train"]:
        shades = [shade for split in SPLITS for shade in SHADES[split][colour]]
        assert len(shades) == len(set(shades))


@pytest.mark.parametrize("split", SPLITS)
def test_a_look_comes_from_its_split(split: str) -> None:
    looks = [pick_appearance(random.Random(seed), split) for seed in range(4000)]
    assert {look.font for look in looks} == set(FONTS[split])
    assert {look.size for look in looks} == set(SIZES[split])
    assert {look.paints["red"] for look in looks} == set(SHADES[split]["red"])
    assert 850 < sum(look.jpeg is not None for look in looks) < 1150


def test_every_character_that_is_drawn_has_strokes() -> None:
    shown = {c for cell in alphabet() if cell.look == "glyph" for c in cell.word}
    shown |= {c for cell in alphabet() if cell.look in ("bar", "dial") for c in cell.parts[0]}
    assert shown == set(STROKES)


def test_a_cut_corner_keeps_the_ends_and_stays_inside() -> None:
    assert smooth(((0, 0), (4, 0), (4, 4)), 1) == ((0, 0), (1, 0), (3, 0), (4, 1), (4, 3), (4, 4))


@pytest.mark.parametrize(
    "font",
    [font for split in SPLITS for font in FONTS[split] if not font.wobble],
    ids=lambda font: font.name,
)
def test_a_slanted_font_leans_to_the_right_and_a_thick_one_covers_more(font) -> None:
    mask = text_mask("1", font, 40, 100).astype(float)
    columns = np.arange(mask.shape[1])
    top, foot = mask[:8].sum(0), mask[-8:].sum(0)
    lean = (top @ columns / top.sum() - foot @ columns / foot.sum()) / 32
    upright = text_mask("1", type(font)(**{**vars(font), "slant": 0.0}), 40, 100).astype(float)
    columns = np.arange(upright.shape[1])
    top, foot = upright[:8].sum(0), upright[-8:].sum(0)
    assert lean - (top @ columns / top.sum() - foot @ columns / foot.sum()) / 32 == pytest.approx(
        font.slant * font.width if not font.strokes else font.slant, abs=0.05
    )


def test_a_wobbled_point_is_shifted_a_little_and_alike_in_all_letters() -> None:
    (x, y), other = shifted((4, 3), 7), shifted((4, 3), 8)
    assert abs(x - 4) <= WOBBLE and abs(y - 3) <= WOBBLE and (x, y) != (4, 3) != other != (x, y)
    assert shifted((4, 3), 7) == (x, y) and shifted((4, 3), 0) == (4, 3)


@pytest.mark.parametrize(("size", "split"), [(20, "train"), (21, "dev"), (23, "test"), (25, "test")])
def test_no_two_symbols_look_alike_in_a_font(size: int, split: str) -> None:
    for font in FONTS[split][::5]:
        shown = {
            tuple((paint, mask.tobytes()) for mask, paint in symbol(cell, font, size)) for cell in alphabet()
        }
        assert len(shown) == len(alphabet())


def test_a_bar_is_as_long_as_its_height_says() -> None:
    for height in range(1, 10):
        (bar, paint), *_ = symbol(Cell(("a", str(height)), "bar"), FONTS["train"][0], 40)
        assert paint == "accent"
        assert (bar[8] > 127).sum() == pytest.approx(40 * 0.09 * height, abs=1)


def test_bars_of_a_chart_rise_from_one_line() -> None:
    scene = Scene((Cell(("c", "9"), "bar"), Cell(("a", "3"), "bar")))
    placed, _ = draw_chart(scene, one_look(), random.Random(0))
    bars = [(mask.shape[0], place[1]) for (mask, paint), place in placed if paint == "accent"]
    (tall, top), (short, lower) = bars
    assert tall == 3 * short
    assert top + tall == lower + short


def test_symbols_stay_in_their_cells_on_the_grid_and_do_not_overlap_off_it() -> None:
    rng = random.Random(0)
    for _ in range(200):
        places, size = on_grid(5, 24, 4, rng)
        assert size == (5 * CELL, CELL)
        assert all(CELL * i <= x <= CELL * (i + 1) - 24 and 0 <= y <= 4 for i, (x, y) in enumerate(places))
        places, (wide, high) = in_rows(7, 3, 24, rng)
        assert wide % CELL == high % CELL == 0
        assert all(0 <= x <= wide - 24 and 0 <= y <= high - 24 for x, y in places)
        boxes = [(x, y) for x, y in places]
        assert all(
            abs(ax - bx) >= 24 or abs(ay - by) >= 24
            for i, (ax, ay) in enumerate(boxes)
            for bx, by in boxes[i + 1 :]
        )


def test_off_the_grid_symbols_cross_the_borders_of_tokens() -> None:
    rng = random.Random(0)
    crossing = 0
    for _ in range(100):
        places, _ = in_rows(5, 5, 24, rng)
        crossing += sum(x // CELL != (x + 23) // CELL for x, _ in places)
    assert crossing > 300  # of 500


@pytest.mark.parametrize("world", LEVELS, ids=lambda world: world.name)
def test_the_patches_are_those_of_the_image_processor(world) -> None:
    rng = random.Random(world.name)
    for family in ("sums", "bars", "labs"):
        scene = make_items(family, (2, 4), 1, "train", 0)[0].scene
        pixels = draw_picture(scene, world, rng, "train")
        made = build_image_processor()(images=[Image.fromarray(pixels)], return_tensors="np")
        assert made["image_grid_thw"].tolist() == [[1, pixels.shape[0] // 14, pixels.shape[1] // 14]]
        np.testing.assert_allclose(patches_of(pixels), made["pixel_values"], atol=1e-5)


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    scene = jumble(random.Random(0), 6)
    first, again, other = (draw_picture(scene, FREE, random.Random(seed), "test") for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_moved_picture_is_moved_and_its_edge_repeated() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    result = drawing.moved(pixels, 1, 1)
    assert result[1, 1:].tolist() == pixels[0, :2].tolist()
    assert result[0, 0].tolist() == pixels[0, 0].tolist()


def test_a_picture_is_moved_any_way_and_its_edge_repeated() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    assert drawing.moved(image, 1, 0)[..., 0].tolist() == [[0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]]
    assert drawing.moved(image, -2, 1)[..., 0].tolist() == [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]]
    assert drawing.moved(image, 0, 0).tolist() == image.tolist()


def test_symbols_cross_the_borders_of_tokens_where_the_picture_is_moved() -> None:
    scene, crossing = Scene((Cell(("a", "7"), "bar"), Cell(("b", "8"), "bar"))), 0
    for seed in range(60):
        pixels = draw_picture(scene, LEVELS[1], random.Random(seed), "train")
        assert pixels.shape == (CELL, 2 * CELL, 3)
        # Between the two tokens nothing is drawn, unless a symbol is moved by more than the room there.
        crossing += bool((pixels[:, CELL - 1 : CELL + 1] < 200).any())
    assert 0 < crossing < 60
