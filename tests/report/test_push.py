"""What others get of a run: a checkpoint that loads, a true model card, and nothing private."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from transformers import AutoModelForImageTextToText

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.report.model_card import model_card, trained_path, without_private
from xreasoner.report.push import push, write_release

RECIPE = """
name: small
model: miniworld
instruction: "think then answer{options:; name one option}"
stages:
  sft:
    kind: sft
    data:
      - {source: miniworld, families: [sums], steps: [2, 2], count: 8}
      - {source: jsonl, path: DATA}
    steps: 1
evaluation:
  think_budget: 8
  answer_budget: 4
  benchmarks: [{source: miniworld, families: [sums], steps: [2, 2], views: [image], count: 4}]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    (folder / "patients.jsonl").write_text(
        json.dumps({"question": "3 +3", "answer": "6", "reasoning": "= 6"}) + "\n"
    )
    (folder / "small.yaml").write_text(RECIPE.replace("DATA", str(folder / "patients.jsonl")))
    run_recipe(read_recipe(folder / "small.yaml", [f"out={folder / 'run'}"]), Console(quiet=True))
    return folder / "run"


@pytest.fixture(scope="module")
def release(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "me" / "mine"
    write_release(run, None, "me/mine", out)
    return out


def test_the_trained_weights_load_in_plain_transformers(run: Path, release: Path) -> None:
    ours = AutoModelForImageTextToText.from_pretrained(run / "stages" / "1-sft" / "checkpoint")
    theirs = AutoModelForImageTextToText.from_pretrained(release)
    ids = torch.arange(5)[None]
    assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_nothing_of_the_base_or_of_our_own_files_is_left(release: Path) -> None:
    assert {path.name for path in release.iterdir() if not path.name.startswith(".")} == {
        *("README.md", "recipe.yaml", "results.json", "config.json", "generation_config.json"),
        *("chat_template.jinja", "model.safetensors", "preprocessor_config.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def test_the_card_says_how_to_ask_and_what_was_measured(run: Path, release: Path) -> None:
    card = (release / "README.md").read_text()
    head, body = card.split("---\n")[1:3]
    assert yaml.safe_load(head)["pipeline_tag"] == "image-text-to-text"
    assert "> think then answer; name one option" in body
    rows = json.loads((run / "results.json").read_text())["results"]
    (first, last) = (f"{100 * row['accuracy']:.1f} [" for row in rows)
    assert re.search(rf"\| sums-image \| 4 \| {re.escape(first)}.* \| {re.escape(last)}", body)
    assert "measured with\n8 tokens" in body
    assert 'from_pretrained("me/mine"' in body
    assert "its processor also reads videos: `pip install torchvision`" in body


def test_private_paths_stay_private(run: Path, release: Path) -> None:
    assert str(run.parent) not in "".join(path.read_text() for path in release.glob("*.[my]*"))
    assert "- sft: data of the author's own; licence: not stated" in (release / "README.md").read_text()
    sources = yaml.safe_load((release / "recipe.yaml").read_text())["stages"]["sft"]["data"]
    assert sources[1]["path"] == "patients.jsonl"


def test_no_server_and_no_output_folder_is_published() -> None:
    recipe = {"out": "/home/me", "evaluation": {"server": {"url": "http://inside"}, "samples": 1}}
    assert without_private(recipe) == {"evaluation": {"server": None, "samples": 1}}


THOUGHTS = "open-thoughts/OpenThoughts-114k"
MEDICAL = {
    "model": "Qwen/Qwen2.5-VL-7B-Instruct",
    "instruction": None,
    "evaluation": {"think_budget": 4096},
    "stages": {
        "sft": {
            "kind": "sft",
            "data": [{"source": "openthoughts", "path": "open-thoughts/OpenThoughts-114k"}],
        },
        "other": {"kind": "sft", "from": "base", "data": [{"source": "jsonl", "path": "/x.jsonl"}]},
        "med": {"kind": "grpo", "from": "sft", "data": [{"source": "medqa", "path": "me/medqa"}]},
    },
}


def test_the_card_follows_the_stages_that_the_weights_went_through() -> None:
    assert trained_path(MEDICAL, "med") == ["sft", "med"]
    card = model_card(MEDICAL, "med", None, False, "x")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["base_model"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert head["datasets"] == ["me/medqa", THOUGHTS]
    assert head["pipeline_tag"] == "text-generation"
    assert "OpenThoughts-114k), licence: apache-2.0" in card
    assert "me/medqa), licence: see its page" in card
    assert "Not a medical device" in card
    assert "author's own" not in card


def test_what_cannot_be_pushed_is_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage 'rl'; there are sft"):
        write_release(run, "rl", "x", tmp_path / "x")
    with pytest.raises(ValueError, match="no trained stage"):
        write_release(tmp_path, None, "x", tmp_path / "x")


def test_without_the_hub_it_is_one_line_and_nothing_is_left(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = sorted(run.rglob("*"))
    (run / ".pushed.unfinished-7").mkdir()  # by a killed push
    with pytest.raises(ValueError, match=r"^could not push to me/mine on the Hugging Face Hub: .*--out"):
        push(run, None, "me/mine", public=False)
    assert sorted(run.rglob("*")) == before
