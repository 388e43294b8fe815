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
    cells = (
        entry["name"],
        f"{number(entry['ours'])} {entry['unit']}",
        *(against(entry) if entry["peer"] is not None else ("none", "", "")),
        str(entry["aim"]),
        f"{entry['device']}, {entry['date']}",
        f"`{entry['command']}`",
    )
    return "| " + " | ".join(cells) + " |\n"


def against(entry: dict[str, Any]) -> tuple[str, str, str]:
    low, high = entry["spread"]
    peer = f"{number(entry['peer'])} ({entry['peer_version']})"
    return peer, f"**{entry['ratio']:.2f}**", f"{low:.2f} to {high:.2f}"


def number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def render(entries: list[dict[str, Any]]) -> str:
    return HEADER + "".join(row(entry) for entry in entries)


if __name__ == "__main__":
    (HERE / "RESULTS.md").write_text(render(json.loads((HERE / "results.json").read_text())))
