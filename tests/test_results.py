"""RESULTS.md says what results.json says."""

import importlib.util
import json
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_page_of_results_has_not_drifted() -> None:
    spec = importlib.util.spec_from_file_location("render", BENCHMARKS / "render.py")
    assert spec and spec.loader
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    entries = json.loads((BENCHMARKS / "results.json").read_text())
    assert (BENCHMARKS / "RESULTS.md").read_text() == render.render(entries)
    compared = [entry for entry in entries if entry["peer"] is not None]
    assert all(entry["ratio"] > 0 and len(entry["spread"]) == 2 for entry in compared)
