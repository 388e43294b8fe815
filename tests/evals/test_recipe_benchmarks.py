"""From the entries of a recipe to benchmarks: splits, names, modalities, and published ones."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.evals.benchmarks import images

from xreasoner.data.sources import training_problems
from xreasoner.evals.recipe_benchmarks import recipe_benchmarks
from xreasoner.evals.task import Benchmark
from xreasoner.miniworld.problems import make_items, make_problems, split_of
from xreasoner.recipe.benchmark_entries import (
    BenchmarkSource,
    JsonlBenchmark,
    MiniworldBenchmark,
    PublishedBenchmark,
    TableBenchmark,
)
from xreasoner.recipe.schema import Evaluation
from xreasoner.recipe.training_data import MiniworldData

TRAIN = MiniworldData(source="miniworld", families=("sums",), steps=(1, 3), count=30)


def entry(**changes: Any) -> MiniworldBenchmark:
    settings = {"source": "miniworld", "families": ("sums",), "steps": (1, 3), "count": 20}
    return MiniworldBenchmark(**(settings | changes))


def asked(*entries: BenchmarkSource) -> tuple[Benchmark, ...]:
    return recipe_benchmarks(Evaluation(benchmarks=entries), "think")


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_splits_are_those_of_the_world() -> None:
    trained = {problem.item for problem in training_problems([TRAIN], seed=0)}
    text, image = asked(entry())
    assert {split_of(item) for item in make_items("sums", (1, 3), 20, "test", 0)} == {"test"}
    assert [problem.item for problem in text.problems] == [problem.item for problem in image.problems]
    assert trained.isdisjoint(problem.item for problem in text.problems)
    (dev,) = asked(entry(split="dev", views=("text",)))
    assert [one.item for one in dev.problems] == [
        one.item for one in make_problems("sums", "text", (1, 3), 20, "dev", 0)
    ]


def test_benchmarks_are_named_by_family_and_view() -> None:
    entries = [
        entry(families=("sums", "labs"), name="many"),
        entry(views=("image",), task="read", role="perception", asked="plainly", name="read"),
    ]
    benchmarks = asked(*entries)
    assert [one.name for one in benchmarks] == [
        "many-sums-text",
        "many-sums-image",
        "many-labs-text",
        "many-labs-image",
        "read-sums-image",
    ]
    last = benchmarks[-1]
    assert (last.modality, last.role, last.instruction) == ("image", "perception", None)
    assert all(len(problem.pictures) == 1 for problem in last.problems)


def test_a_benchmark_is_asked_with_each_prompt() -> None:
    evaluation = Evaluation(
        benchmarks=(entry(asked=("instructed", "plainly", "boxed")),),
        prompts={"boxed": "in a box"},
        blind=True,
    )
    found = {one.name: (one.prompt, one.instruction) for one in recipe_benchmarks(evaluation, "think")}
    assert found == {
        "sums-text": ("instructed", "think"),
        "sums-text+plainly": ("plainly", None),
        "sums-text+boxed": ("boxed", "in a box"),
        "sums-image": ("instructed", "think"),
        "sums-image+plainly": ("plainly", None),
        "sums-image+boxed": ("boxed", "in a box"),
        "sums-image-without-image": ("instructed", "think"),
    }


def test_a_prompt_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no prompt 'boxed' in `prompts`; there are instructed, plainly"):
        Evaluation(benchmarks=(entry(asked="boxed"),))
    with pytest.raises(ValueError, match="'plainly' is built in"):
        Evaluation(prompts={"plainly": "x"})


def test_two_benchmarks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two are called sums-text"):
        asked(entry(), entry(steps=(4, 5)))


def test_images_make_an_image_benchmark(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(images.plain())
    path = write_lines(tmp_path / "mine.jsonl", {"question": "What?", "answer": "x", "image": "one.png"})
    mine = JsonlBenchmark(source="jsonl", path=path, name="eyes", kind="exact")
    (benchmark,) = asked(mine)
    assert (benchmark.name, benchmark.modality) == ("eyes", "image")
    assert benchmark.problems[0].pictures[0].encoded == images.plain()


@pytest.mark.parametrize("source", ["jsonl", "table"])
def test_an_image_outside_the_tables_folder_is_refused_until_its_folder_is_named(
    source: str, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "data", tmp_path / "scans"
    inside.mkdir()
    outside.mkdir()
    (outside / "x.png").write_bytes(images.plain())
    (inside / "link.png").symlink_to(outside / "x.png")
    kinds = {"jsonl": JsonlBenchmark, "table": TableBenchmark}
    for name in (str(outside / "x.png"), "../scans/x.png", "link.png"):
        path = write_lines(inside / "mine.jsonl", {"question": "What?", "answer": "x", "image": name})
        settings = {"source": source, "path": path if source == "jsonl" else str(path), "name": "eyes"}
        with pytest.raises(ValueError) as caught:
            asked(kinds[source](**settings))
        said = str(caught.value)
        assert f"mine.jsonl:1: no image: {name} is outside {inside}; name its folder in image_folders" in said
        assert "\n" not in said
        (benchmark,) = asked(kinds[source](**settings, image_folders=(outside,)))
        assert benchmark.problems[0].pictures[0].encoded == images.plain()


@pytest.mark.parametrize("source", ["jsonl", "table"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/proc/self/environ", "no image: /proc/self/environ is outside "),
        ("../../../../../../../../../../etc/passwd", "is outside "),
        ("secret.png", "broken image: secret.png: not one of PNG, JPEG, WEBP, GIF, BMP, TIFF"),
        ("drawing.eps", "broken image: drawing.eps: not one of "),
        ("bomb.png", "broken image: bomb.png: 12000 x 12000 pixels; the limit is 89,478,485"),
        ("x" * 5000, "no image: 'xxx"),
        ("a\0b.png", "no image: 'a\\x00b.png' was not found"),
        ("loop.png", "no image: loop.png was not found"),
        ("/dev/zero", "no image: /dev/zero was not found"),
    ],
    ids=["environment", "passwd", "text", "eps", "bomb", "long", "nul", "loop", "device"],
)
def test_what_is_not_an_image_is_named_and_never_read_into_the_benchmark(
    source: str, name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_text("API_KEY=1")
    (tmp_path / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    (tmp_path / "bomb.png").write_bytes(images.bomb())
    (tmp_path / "loop.png").symlink_to("loop.png")
    kinds = {"jsonl": JsonlBenchmark, "table": TableBenchmark}
    path = write_lines(tmp_path / "mine.jsonl", {"question": "What?", "answer": "x", "image": name})
    settings = {"source": source, "path": path if source == "jsonl" else str(path), "name": "eyes"}
    with pytest.raises(ValueError) as caught:
        asked(kinds[source](**settings))
    assert f"{path}:1: " in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_published_benchmark_is_read_from_a_copy_and_thinned(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + 1?", "answer": f"So\n#### {n + 1}"} for n in range(8)]
    path = write_lines(tmp_path / "test.jsonl", *rows)
    named = PublishedBenchmark(
        source="benchmark", name="gsm8k", path=path, count=4, any_size=True, asked="plainly"
    )
    (benchmark,) = asked(named)
    assert (benchmark.name, benchmark.role, benchmark.instruction) == ("gsm8k", "skill", None)
    assert [problem.answer for problem in benchmark.problems] == ["1", "3", "5", "7"]


def test_a_table_of_ones_own_may_be_parquet_with_images_inside(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(png, "PNG")
    rows = {
        "q": ["Which colour?", "And 1 + 1?"],
        "key": ["B", "2"],
        "options": [["blue", "red"], None],
        "picture": [{"bytes": png.getvalue(), "path": None}, None],
    }
    pq.write_table(pa.table(rows), tmp_path / "mine.parquet")
    columns = {"question": "q", "answer": "key", "choices": "options", "image": "picture"}
    mine = TableBenchmark(source="table", path=str(tmp_path / "mine.parquet"), name="mine", columns=columns)
    (benchmark,) = asked(mine)
    colour, addition = benchmark.problems
    assert (benchmark.name, benchmark.modality, benchmark.instruction) == ("mine", "image", "think")
    assert (colour.kind, colour.answer, colour.choices) == ("choice", "B", ("blue", "red"))
    assert colour.pictures[0].encoded == png.getvalue()
    assert (addition.kind, addition.answer, addition.question) == ("math", "2", ("And 1 + 1?",))


def test_bad_rows_of_a_table_are_listed_and_too_many_stop_the_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("question,answer\n1 + 1?,2\n,3\n2 + 2?,4\n")
    settings = {"source": "table", "path": str(path), "name": "mine"}
    (benchmark,) = asked(TableBenchmark(**settings, max_bad_rows=0.5))
    assert [problem.answer for problem in benchmark.problems] == ["2", "4"]
    assert [item.id for item in benchmark.broken] == ["mine-000002"]
    with pytest.raises(ValueError, match=r"mine.csv: 1 of 3 rows are bad, above max_bad_rows 0.05"):
        asked(TableBenchmark(**settings))
