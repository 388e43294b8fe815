"""The reader's folder holds every answer of a run, and is written anew only where a run changed."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.evals.benchmarks import images
from tests.evals.scripted import ScriptedEngine, problem
from tests.evals.test_runner import run
from tests.faults.test_texts import TEXTS
from tests.report.demo_run import make_run
from tests.report.reader_files import read_answers_of, read_index, write_rollouts

from xreasoner.evals.samples import read_answers
from xreasoner.evals.task import Benchmark
from xreasoner.report.reader.export_answers import export_answers
from xreasoner.report.reader.file_table import in_a_line
from xreasoner.report.reader.own_files import read_signed
from xreasoner.report.reader.pictures import place_picture
from xreasoner.report.reader.text_chunks import MOST_CHARACTERS, MOST_TEXTS, ChunkWriter
from xreasoner.report.reader.write_reader import default_folder, run_names, write_reader

READER = Path(__file__).parent.parent.parent / "reader"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = make_run(tmp_path_factory.mktemp("runs") / "demo", count=6)
    write_rollouts(run_dir, 10, {}, {"sample": 1, "correct": False, "extracted": "3", "advantage": -0.5})
    return run_dir


@pytest.fixture(scope="module")
def out(run_dir: Path) -> Path:
    write_reader([run_dir], run_dir / "reader")
    return run_dir / "reader"


def test_every_answer_of_every_evaluation_is_there_with_its_text(run_dir: Path, out: Path) -> None:
    wanted = {
        (path.parent.name, path.stem, sample.problem_id, sample.epoch): sample
        for path in run_dir.glob("evals/*/*.jsonl")
        for sample in read_answers(path).samples
    }
    assert len(wanted) == 3 * (
        9 * 6 + 4 * 6
    )  # three stages; eight benchmarks and a blind one, and four probes
    found = {
        (one["stage"], one["benchmark"], one["id"], one["sample"]): one
        for one in read_answers_of(out)
        if one["benchmark"] != "rl rollouts"
    }
    assert found.keys() == wanted.keys()
    for key, sample in wanted.items():
        assert found[key]["text"] == sample.text
        assert found[key]["facts"] == {"extracted": sample.score.extracted, "why": sample.score.why}
        assert (found[key]["verdict"] == "right") == sample.score.correct
        assert found[key]["think"] == sample.think_tokens


def test_the_stages_of_an_item_stand_together_and_in_order(out: Path) -> None:
    index = read_index(out)
    assert [lane["name"] for lane in index["lanes"]] == ["base", "sft", "rl"]
    found = [(one["benchmark"], one["id"]) for one in read_answers_of(out)]
    stages = [one["stage"] for one in read_answers_of(out) if one["benchmark"] != "rl rollouts"]
    assert stages == ["base", "sft", "rl"] * (len(stages) // 3)
    assert len(set(found)) == len(index["items"]["ids"])


def test_tags_that_tell_items_apart_can_be_filtered_by(out: Path) -> None:
    tags = {tag["name"]: tag["values"] for tag in read_index(out)["tags"]}
    assert tags["family"] == ["bars", "labs", "shapes", "sums"]
    assert tags["steps"] == ["1", "2", "3", "4", "5"]


def test_rollouts_of_training_show_reward_and_advantage(out: Path) -> None:
    right, wrong = [one for one in read_answers_of(out) if one["benchmark"] == "rl rollouts"]
    assert (right["id"], right["stage"], right["verdict"], wrong["verdict"]) == (
        "step 10 a",
        "rl",
        "right",
        "wrong",
    )
    assert wrong["facts"]["rewards"] == {"correct": 1.0} and wrong["facts"]["advantage"] == -0.5
    assert (right["sample"], wrong["sample"], wrong["said"]) == (0, 1, "3")
    assert right["asked"]["tags"] == {"step": "10"}


def test_a_second_build_writes_only_what_changed(tmp_path: Path) -> None:
    run_dir = tmp_path / "demo"
    write_rollouts(run_dir, 1, {}, {"sample": 1})
    path = write_rollouts(run_dir, 2, {"text": "before"})
    out = tmp_path / "reader"
    write_reader([run_dir], out)
    first = {file: file.stat().st_mtime_ns for file in [*out.glob("text/*"), *out.glob("cache/*")]}
    assert len(first) == 2 * 3  # each step's table, its answers and its questions
    write_rollouts(run_dir, 2, {"text": "after "})
    os.utime(path, ns=(1, 1))
    assert write_reader([run_dir], out).answers == 3
    second = {file: file.stat().st_mtime_ns for file in [*out.glob("text/*"), *out.glob("cache/*")]}
    assert len(second) == len(first)
    kept = first.keys() & second.keys()
    assert len(kept) == 4 and all(first[file] == second[file] for file in kept)
    assert [one["text"] for one in read_answers_of(out)][2] == "after "


def test_two_runs_answer_the_same_items_side_by_side(tmp_path: Path) -> None:
    for name, text in (("first", "<answer>2</answer>"), ("second", "<answer>3</answer>")):
        write_rollouts(tmp_path / name, 5, {"text": text})
    write_rollouts(tmp_path / "second", 7, {"question": "2 + 2?"})
    write_reader([tmp_path / "first", tmp_path / "second"], tmp_path / "out")
    found = [(one["id"], one["stage"]) for one in read_answers_of(tmp_path / "out")]
    assert found == [("step 5 a", "first: rl"), ("step 5 a", "second: rl"), ("step 7 a", "second: rl")]


def test_an_item_whose_question_changed_is_another_item(tmp_path: Path) -> None:
    write_rollouts(tmp_path / "first", 5, {})
    write_rollouts(tmp_path / "second", 5, {"question": "1 + 2?"})
    write_reader([tmp_path / "first", tmp_path / "second"], tmp_path / "out")
    assert [one["question"] for one in read_answers_of(tmp_path / "out")] == ["1 + 1?", "1 + 2?"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert run_names([tmp_path / "a"]) == ["a"]
    with pytest.raises(ValueError, match="the same run is named twice"):
        run_names([tmp_path, tmp_path])
    assert default_folder([tmp_path / "a"]) == tmp_path / "a" / "reader"
    assert default_folder([tmp_path / "a", tmp_path / "b"]) == tmp_path / "reader-a-b"


def test_hostile_texts_arrive_as_they_are(tmp_path: Path) -> None:
    asked = tuple(problem(i) for i in range(len(TEXTS)))
    engine = ScriptedEngine(lambda name, _: TEXTS[int(name[1:4])])
    run(engine, tmp_path / "evals" / "base", benchmark=Benchmark("sums", "text", "general", asked))
    write_reader([tmp_path], tmp_path / "reader")
    found = [one["text"] for one in read_answers_of(tmp_path / "reader")]
    wanted = [text.replace("\0", "␀").encode(errors="replace").decode() for text in TEXTS]
    assert found == wanted
    assert Counter(len(text) for text in found) == Counter(len(text) for text in TEXTS)


def test_chunks_stay_small_and_a_long_text_has_its_own(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path)
    for size in (10, MOST_CHARACTERS + 5, *[1] * (MOST_TEXTS + 1)):
        writer.add("x" * size, {})
    writer.flush()
    assert writer.counts == [1, 1, MOST_TEXTS, 1]


def test_a_script_that_somebody_else_put_there_is_written_anew(tmp_path: Path) -> None:
    """A run directory comes with its reader, whose chunks are scripts of the right names."""
    run_dir, out = tmp_path / "demo", tmp_path / "demo" / "reader"
    write_rollouts(run_dir, 1, {})
    write_reader([run_dir], out)
    for path in out.glob("text/*.js"):
        path.write_text("alert(1)")
    (out / "text" / f"{7:032x}.js").write_text("alert(1)")
    write_reader([run_dir], out)  # the signed table names other digests
    assert len(read_answers_of(out)) == 1
    (table,) = out.glob("cache/*.json")
    for path in out.glob("text/*.js"):
        path.write_text("alert(1)")
    digests = {path.stem: hashlib.sha256(b"alert(1)").hexdigest() for path in out.glob("text/*.js")}
    forged = json.loads(table.read_bytes()[64:]) | {"digests": digests}
    table.write_text("0" * 64 + json.dumps(forged))
    write_reader([run_dir], out)  # and a table of another key is not read
    assert len(read_answers_of(out)) == 1
    assert not any("alert" in path.read_text() for path in out.rglob("*.js") if path.name != "reader.js")


def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path) -> None:
    run_dir, outside = tmp_path / "demo", tmp_path / "outside"
    write_rollouts(run_dir, 1, {})
    outside.mkdir()
    (outside / f"{7:032x}.js").write_text("mine")
    (run_dir / "reader").mkdir()
    (run_dir / "reader" / "text").symlink_to(outside)
    with pytest.raises(ValueError, match="text is a symbolic link; remove it"):
        write_reader([run_dir], run_dir / "reader")
    assert [path.read_text() for path in outside.iterdir()] == ["mine"]


def test_only_images_of_the_run_are_shown(tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    (tmp_path / "outside.png").write_bytes(images.plain())
    (pictures / "good.png").write_bytes(images.plain())
    (pictures / "text.png").write_bytes(b"API_KEY=1")
    (pictures / "page.html").write_bytes(b"<script>alert(1)</script>")
    (pictures / "large.tiff").write_bytes(images.plain(form="TIFF"))
    for name in ("gone.png", "../outside.png", "a\0b.png", "x" * 5000, "text.png", "page.html"):
        assert place_picture(pictures, name, out) is None
    assert place_picture(pictures, "good.png", out) == "good.png"
    assert place_picture(pictures, "large.tiff", out) == "large.small.jpg"
    assert sorted(path.name for path in out.iterdir()) == ["good.png", "large.small.jpg"]
    assert (out / "good.png").read_bytes() == images.plain()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_export_has_every_text(run_dir: Path, out: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    read = {".parquet": pyarrow.parquet.read_table, ".csv": read_csv}[suffix]
    assert export_answers([run_dir], path) == len(read_answers_of(out))
    rows = {(row["stage"], row["benchmark"], row["id"], row["sample"]): row for row in read(path).to_pylist()}
    for one in read_answers_of(out):
        row = rows[one["stage"], one["benchmark"], one["id"], one["sample"]]
        assert (row["text"], row["verdict"], row["question"]) == (
            one["text"],
            one["verdict"],
            one["question"],
        )
        assert row["run"] == "demo"


def read_csv(path: Path) -> pyarrow.Table:
    return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))


def test_faults_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no answers: neither a finished evaluation"):
        write_reader([tmp_path], tmp_path / "out")
    with pytest.raises(ValueError, match=r"ends in \.parquet or \.csv"):
        export_answers([tmp_path], tmp_path / "answers.xlsx")
    path = write_rollouts(tmp_path, 1, {})
    path.write_text(path.read_text() + '{"id": "b", "sam')
    with pytest.raises(ValueError, match=r"step-000001\.jsonl, line 2 is damaged"):
        write_reader([tmp_path], tmp_path / "out")


def test_a_title_is_one_short_line() -> None:
    assert in_a_line("  two\n lines ", 20) == "two lines"
    assert in_a_line("abcdef", 5) == "abcd…"


def test_the_built_page_is_that_of_its_sources() -> None:
    """As `reader/sourcesHash.ts` computes it."""
    names = [
        "index.html",
        "package.json",
        "package-lock.json",
        "sourcesHash.ts",
        "tsconfig.json",
        "vite.config.ts",
    ]
    names += [path.relative_to(READER).as_posix() for path in (READER / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0".encode() + (READER / name).read_bytes() + b"\0")
    built = READER.parent / "src" / "xreasoner" / "report" / "reader" / "built"
    assert (built / "sources.sha256").read_text().strip() == digest.hexdigest(), (
        "run `npm run build` in reader/"
    )


def test_the_page_allows_only_its_own_files() -> None:
    page = (READER / "index.html").read_text()
    policy = page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (
        rules["default-src"] == rules["connect-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
    )
    assert not any(word in policy for word in ("http", "unsafe", "*"))
    sources = "".join(path.read_text() for path in (READER / "src").rglob("*.ts*"))
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "dangerously",
        "eval(",
        "document.write",
        "fetch(",
    ):
        assert word not in sources


def test_what_is_kept_of_a_table_can_be_read_again(out: Path) -> None:
    for path in out.glob("cache/*.json"):
        content = read_signed(path)
        assert content is not None and json.loads(content)["ids"]
