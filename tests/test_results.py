"""RESULTS.md and the README match results.json."""

import importlib.util
import json
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_neither_the_page_of_results_nor_the_readme_has_drifted() -> None:
    spec = importlib.util.spec_from_file_location("render", BENCHMARKS / "render.py")
    assert spec and spec.loader
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    entries = json.loads((BENCHMARKS / "results.json").read_text())
    assert (BENCHMARKS / "RESULTS.md").read_text() == render.render(entries)
    readme = (BENCHMARKS.parent / "README.md").read_text()
    assert readme.count(render.BEGIN) == readme.count(render.END) == 1
    assert readme == render.with_headlines(readme, entries)
    compared = [entry for entry in entries if entry["peer"] is not None]
    assert all(entry["ratio"] > 0 and len(entry["spread"]) == 2 for entry in compared)
