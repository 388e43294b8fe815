"""Snapshots in the published layout, extra files included: the published items, or one line."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data import true_schemas as schemas
from tests.evals.benchmarks import images
from tests.evals.benchmarks.copies import COPIES, mathvista_json
from tests.evals.benchmarks.test_published import FOUND, read

from xreasoner.data.candidates import BadRowError
from xreasoner.evals.benchmarks import BENCHMARKS, load_benchmark
from xreasoner.evals.benchmarks.copies import local_copy
from xreasoner.evals.benchmarks.image_files import Pictures

ROWS = {
    "mmlu-pro-health": 3,
    "mmmu-pro-health": 2,
    "vqa-rad": 3,
    "pathvqa": 3,
    "slake": 4,
}
"""Of the small copies, where the size of the whole table is what is published."""


def with_extras(folder: Path) -> Path:
    """What downloads and index files leave in a snapshot."""
    junk = [{"question": "?", "answer": "#### 1", "pid": "1"}] * 7
    cache = folder / ".cache" / "huggingface" / "download"
    for place in (cache / "test.jsonl", cache / "data" / "test-00000-of-00001.jsonl"):
        schemas.write_jsonl(place, junk)
    (folder / "README.md").write_text("# Data")
    (folder / ".gitattributes").write_text("*.parquet filter=lfs")
    schemas.write_json(folder / "dataset_infos.json", junk)
    return folder


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published, as if the small copies were whole."""
    for name, definition in BENCHMARKS.items():
        items = len(FOUND[name][3]) + len(FOUND[name][4])
        rows = ROWS.get(name) if definition.rows else None
        assert (rows is None) == (definition.rows is None), name
        monkeypatch.setitem(BENCHMARKS, name, replace(definition, size=items, rows=rows))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_snapshot_gives_the_published_items_and_nothing_else(
    name: str, small_sizes: None, tmp_path: Path
) -> None:
    copy = COPIES[name](tmp_path)
    folder = with_extras(copy) if copy.is_dir() else copy  # NEJM is one file of the user's
    benchmark = load_benchmark(name, folder)
    assert {one.id.removeprefix(f"{name}-") for one in benchmark.problems} == set(FOUND[name][3])
    assert {one.id.removeprefix(f"{name}-") for one in benchmark.broken} == set(FOUND[name][4])


SIZED = [name for name in BENCHMARKS if BENCHMARKS[name].size or BENCHMARKS[name].rows]


@pytest.mark.parametrize("name", SIZED)
def test_another_size_than_the_published_one_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        load_benchmark(name, COPIES[name](tmp_path))
    published = BENCHMARKS[name].rows or BENCHMARKS[name].size
    assert f"of {name}, published {published:,}: " in str(caught.value)
    assert "any_size: true" in str(caught.value) and "\n" not in str(caught.value)


def test_every_benchmark_but_the_users_own_has_a_published_size() -> None:
    assert set(BENCHMARKS) - set(SIZED) == {"nejm"}


def test_of_gpqas_four_files_the_named_one_is_read(tmp_path: Path) -> None:
    assert [one.id for one in read("gpqa-diamond", COPIES["gpqa-diamond"](tmp_path)).problems] == [
        "gpqa-diamond-rec0",
        "gpqa-diamond-rec1",
    ]
    (tmp_path / "gpqa_diamond.csv").unlink()
    with pytest.raises(ValueError, match="published 198"):
        load_benchmark("gpqa-diamond", tmp_path)


def test_mathvistas_json_release_is_read_by_pid(tmp_path: Path) -> None:
    benchmark = read("mathvista", mathvista_json(tmp_path))
    keys = {one.id.removeprefix("mathvista-"): one.answer for one in benchmark.problems}
    assert keys == FOUND["mathvista"][3]
    assert {one.id.removeprefix("mathvista-") for one in benchmark.broken} == set(FOUND["mathvista"][4])


REAL = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not (REAL / "mathvista").is_dir(), reason="the published files are not here")
def test_the_published_mathvista_json_has_its_thousand_items(tmp_path: Path) -> None:
    """Its texts; an image of each is put beside them."""
    for name in ("testmini.json", "annot_testmini.json"):
        (tmp_path / name).write_bytes((REAL / "mathvista" / name).read_bytes())
    picture = images.plain("red", form="JPEG")
    (tmp_path / "images").mkdir()
    for number in range(1, 1001):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(picture)
    benchmark = load_benchmark("mathvista", tmp_path)
    assert (len(benchmark.problems), len(benchmark.broken)) == (1000, 0)


@pytest.mark.skipif(not (REAL / "gsm8k").is_dir(), reason="the published files are not here")
def test_the_published_gsm8k_folder_has_its_1319_items() -> None:
    benchmark = load_benchmark("gsm8k", REAL / "gsm8k")
    assert (len(benchmark.problems), len(benchmark.broken)) == (1319, 0)


# --- images ---------------------------------------------------------------------------------------------


def test_a_picture_of_a_neighbouring_folder_is_never_shown(tmp_path: Path) -> None:
    copy = COPIES["nejm"](tmp_path / "nejm" if (tmp_path / "nejm").mkdir() is None else tmp_path)
    (tmp_path / "nejm" / "1.png").unlink()
    (tmp_path / "1.png").write_bytes(images.plain("green"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(images.plain("green"))
    pictures = local_copy("nejm", BENCHMARKS["nejm"], copy).pictures
    for name in ("1.png", "../1.png", str(tmp_path / "1.png")):
        with pytest.raises(BadRowError, match="no image"):
            pictures.of(name)


def test_two_different_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "1.png").write_bytes(images.plain("red"))
    (tmp_path / "images" / "1.png").write_bytes(images.plain("red"))
    assert Pictures((tmp_path,)).of("1.png").encoded == images.plain("red")
    (tmp_path / "images" / "1.png").write_bytes(images.plain("green"))
    with pytest.raises(BadRowError) as caught:
        Pictures((tmp_path,)).of("1.png")
    assert "1.png may be" in caught.value.detail


@pytest.mark.parametrize("place", ["", "MM", "MM/test.jsonl"])
def test_images_beside_the_snapshots_folders_are_found_from_any_place_in_it(
    place: str, tmp_path: Path
) -> None:
    folder = COPIES["medxpertqa-mm"](tmp_path)
    assert [one.id for one in read("medxpertqa-mm", folder / place).problems] == ["medxpertqa-mm-MM-0"]


def test_a_zip_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    class Counting(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    COPIES["medxpertqa-mm"](tmp_path)
    monkeypatch.setattr("xreasoner.evals.benchmarks.image_files.zipfile.ZipFile", Counting)
    pictures = Pictures((tmp_path,))
    for name in ("MM-0-a.jpeg", "MM-0-b.jpeg", "MM-0-a.jpeg"):
        pictures.of(name)
    assert len(opened) == 2  # for its directory, then for its members
