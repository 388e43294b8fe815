"""Writes `results.json`, `report.html` and the reader into a run directory."""

from collections.abc import Sequence
from pathlib import Path

from xreasoner.report.html import page
from xreasoner.report.reader.write_reader import default_folder, write_reader
from xreasoner.report.results import Results, collect, write_results
from xreasoner.storage.files import sweep_for, write_atomically


def write_report(run_dir: Path, references: Sequence[str] = (), is_live: bool = False) -> Results:
    """Runs no model. `references` are those of `collect`. The page of a live run reloads itself."""
    results = collect(run_dir, references)
    tables, shown = run_dir / "results.json", run_dir / "report.html"
    for path in (tables, shown):
        sweep_for(path)
    write_results(results, tables)
    reader = write_reader([run_dir], default_folder([run_dir]))
    written = page(results, run_dir, reader.answers, is_live)
    write_atomically(shown, written.encode(errors="replace"))
    return results
