"""Datasets of the hub, with the hub's own client and a small server of its protocol."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.hub_server import serving_hub

from xreasoner.data.hub import card_configs, chosen_tables, data_files

FIRST, SECOND = "a" * 40, "b" * 40
CARD = b"""---
configs:
- config_name: easy
  data_files:
  - {split: train, path: easy/train-*}
- config_name: hard
  default: true
  data_files:
  - {split: train, path: [hard/a.jsonl, hard/b.jsonl]}
  - {split: test, path: hard/test.jsonl}
---
# A dataset
"""


def line(question: str) -> bytes:
    return json.dumps({"question": question, "answer": "1"}).encode() + b"\n"


COMMITS = {
    FIRST: {
        "README.md": CARD,
        "easy/train-0.jsonl": line("easy"),
        "hard/a.jsonl": line("one"),
        "hard/b.jsonl": line("two"),
        "hard/test.jsonl": line("test"),
    },
    SECOND: {"README.md": CARD, "hard/a.jsonl": line("changed"), "hard/b.jsonl": line("two")},
}
READ = """
import sys
from pathlib import Path
from xreasoner.data.hub import pinned_in
from xreasoner.data.tables import read_rows
try:
    with pinned_in(Path(sys.argv[1])):
        print([row.value["question"] for row in read_rows("team/set", None, "train")])
except ValueError as error:
    print(error)
"""


def read(run: Path, tmp_path: Path, url: str) -> str:
    """In a process of its own, because the hub's client reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(run)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_dataset_is_downloaded_once_pinned_and_read_without_a_network(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    with serving_hub("team/set", COMMITS, FIRST) as hub:
        assert read(run, tmp_path, hub.url) == "['one', 'two']"
        assert sorted(hub.downloads) == [
            f"{FIRST}/README.md",
            f"{FIRST}/hard/a.jsonl",
            f"{FIRST}/hard/b.jsonl",
        ]
        assert json.loads((run / "hub" / "revisions.json").read_text()) == {"team/set": FIRST}
        hub.main = SECOND
        assert read(run, tmp_path, hub.url) == "['one', 'two']"
        assert len(hub.downloads) == 3
    nowhere = hub.url
    assert read(run, tmp_path, nowhere) == "['one', 'two']"
    assert read(other, tmp_path, nowhere) == "['one', 'two']"  # the latest commit on disk
    with serving_hub("team/set", COMMITS, SECOND) as hub:
        assert read(tmp_path / "third", tmp_path, hub.url) == "['changed', 'two']"
        assert json.loads((tmp_path / "third" / "hub" / "revisions.json").read_text()) == {"team/set": SECOND}


def test_what_the_hub_cannot_give_is_one_line(tmp_path: Path) -> None:
    with serving_hub("team/other", COMMITS, FIRST) as hub:
        said = read(tmp_path / "run", tmp_path, hub.url)
    assert said.startswith("could not load team/set from the Hugging Face Hub: ")
    assert "\n" not in said
    said = read(tmp_path / "run", tmp_path, hub.url)
    assert said.startswith("could not load team/set from the Hugging Face Hub: ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("files", "config", "split", "chosen"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-0.parquet"],
         None, "train", ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        (["main/train.jsonl", "socratic/train.jsonl"], "socratic", "train", ["socratic/train.jsonl"]),
        (["set.json", "notes.txt"], None, "train", ["set.json"]),
    ],
)  # fmt: skip
def test_without_a_card_the_names_of_files_decide(
    files: list[str], config: str | None, split: str, chosen: list[str]
) -> None:
    assert chosen_tables("team/set", files, config, split) == chosen


def test_a_split_that_is_not_there_is_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"team/set: the dataset has no table of split 'test'; found train\.csv"
    ):
        chosen_tables("team/set", ["train.csv"], None, "test")
    with pytest.raises(ValueError, match="team/set: the dataset has no tables"):
        chosen_tables("team/set", ["README.txt"], None, "test")


def test_the_forms_of_data_files_in_a_card() -> None:
    assert list(data_files({"data_files": "all.csv"})) == [("train", "all.csv")]
    assert list(data_files({"data_files": ["a.csv", "b.csv"]})) == [("train", "a.csv"), ("train", "b.csv")]
    listed = {"data_dir": "x", "data_files": [{"split": "test", "path": ["a", "b"]}]}
    assert list(data_files(listed)) == [("test", "x/a"), ("test", "x/b")]


@pytest.mark.parametrize(
    "head",
    [b"a: [", b"\xff", b"[" * 5000, b"a: *b", b"x: 0x_", b"!!python/object:os.system x"],
)
def test_a_broken_card_is_one_line(head: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        card_configs("them/data", b"---\n" + head + b"\n---\n")
    assert str(caught.value) == "them/data: the head of its README.md is not YAML; give a local copy"


def test_a_card_with_senseless_settings_has_no_configs() -> None:
    for head in (
        b"",
        b"a: &a {<<: *a}",
        b"[]",
        b"3",
        b"configs: 3",
        b"configs: {a: 1}",
        b"configs: [1, null]",
    ):
        assert card_configs("them/data", b"---\n" + head + b"\n---\n") == []
    odd = {"data_files": [1, None, {"split": "test"}, {"split": "test", "path": [2, "a.csv"]}]}
    assert list(data_files(odd)) == [("test", "a.csv")]
