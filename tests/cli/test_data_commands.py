"""The data commands, as a user types them."""

import json
from pathlib import Path

import pytest
import yaml
from tests.data import true_schemas as schemas

from xreasoner.cli.data import estimate, pass_rate, stats


@pytest.fixture
def recipe(tiny_base: Path, tmp_path: Path) -> Path:
    """Two stages on a table of six rows, one of which asks nothing, with a benchmark that asks another."""
    rows = [{"question": f"{i} + {i + 3} ?", "answer": str(2 * i + 3), "reasoning": "so ."} for i in range(5)]
    table = schemas.write_jsonl(tmp_path / "mine.jsonl", [*rows, {"question": " ", "answer": "1"}])
    bench = schemas.write_jsonl(tmp_path / "bench.jsonl", [rows[2]])
    data = [{"source": "table", "path": str(table), "max_bad_rows": 0.5}]
    sizes = {"think_budget": 6, "answer_budget": 4, "prompts_per_step": 2, "samples_per_prompt": 2}
    raw = {
        "name": "r",
        "model": str(tiny_base),
        "out": str(tmp_path / "run"),
        "stages": {
            "sft": {"kind": "sft", "steps": 1, "data": data, "filters": {}},
            "rl": {"kind": "grpo", "steps": 1, "data": data, "filters": {}, **sizes},
        },
        "evaluation": {"benchmarks": [{"source": "jsonl", "name": "bench", "path": str(bench)}]},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "r.yaml"


def test_statistics_of_one_stage_prepare_that_stage_alone(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats(recipe, [], stage="rl")
    said = capsys.readouterr().out
    assert said.startswith("rl: 4 of 6 rows kept")
    for line in ("in a benchmark: exact  1", "question is empty      1", "bench            1"):
        assert line in said
    prepared = recipe.parent / "run" / "data"
    assert {folder.name for folder in prepared.iterdir() if folder.is_dir()} == {"rl"}
    assert (prepared / "rl" / "lengths.png").is_file()
    with pytest.raises(ValueError, match="nowhere"):
        stats(recipe, [], stage="nowhere")


def test_pass_rates_are_asked_for_once(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recipe.parent / "rates.jsonl"
    for done in (0, 4):
        pass_rate(recipe, out, "rl", [], samples=2)
        assert f"{done} of 4 problems already have a pass rate" in capsys.readouterr().out
    rates = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(rate["id"] for rate in rates) == [f"mine-{n:06}" for n in (1, 2, 4, 5)]
    assert {rate["samples"] for rate in rates} == {2}
    with pytest.raises(ValueError, match=r"holds other pass rates \(temperature was 1\.0, is 0\.5\)"):
        pass_rate(recipe, out, "rl", [], samples=2, temperature=0.5)
    stats(recipe, [f"rl.filters.pass_rates={{file: {out}, low: 0.0, high: 1.0}}"], stage="rl")
    solved = sum(0 < rate["rate"] < 1 for rate in rates)
    assert capsys.readouterr().out.startswith(f"rl: {solved} of 6 rows kept")


def test_an_estimate_counts_what_was_prepared(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stats(recipe, [], stage="rl")
    capsys.readouterr()
    estimate(recipe, [], gpus="1xH100-80")
    printed = capsys.readouterr().out.partition("problems")[2]
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:3] for row in rows[1:3]] == [["rl", "1", "4"], ["sft", "1", "~0"]]
