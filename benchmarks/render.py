"""Writes RESULTS.md from results.json: `python benchmarks/render.py`."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEADER = """# Measured

Made from `results.json` by `python benchmarks/render.py`; the benchmarks write into that file. A ratio
above 1 means that ours is better. Both sides ran alternately on the same machine, with the same model, data
and precision, the peer with the settings that serve it best; the spread is that of the ratios of the rounds.

| what | ours | peer | ratio | spread | aim | on | command |
|---|---|---|---|---|---|---|---|
"""


def row(entry: dict[str, Any]) -> str:
    low, high = entry["spread"]
    unit, version = entry["unit"], entry["peer_version"]
    cells = (
        entry["name"],
        f"{entry['ours']:.3g} {unit}" if entry["ours"] < 1000 else f"{entry['ours']:,.0f} {unit}",
        (f"{entry['peer']:.3g}" if entry["peer"] < 1000 else f"{entry['peer']:,.0f}") + f" ({version})",
        f"**{entry['ratio']:.2f}**",
        f"{low:.2f} to {high:.2f}",
        str(entry["aim"]),
        f"{entry['device']}, {entry['date']}",
        f"`{entry['command']}`",
    )
    return "| " + " | ".join(cells) + " |\n"


def render(entries: list[dict[str, Any]]) -> str:
    return HEADER + "".join(row(entry) for entry in entries)


if __name__ == "__main__":
    (HERE / "RESULTS.md").write_text(render(json.loads((HERE / "results.json").read_text())))
