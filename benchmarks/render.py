"""Writes RESULTS.md, and the table in the README, from results.json: `python benchmarks/render.py`."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- made by benchmarks/render.py -->\n", "<!-- end -->\n"
HEADLINES = {
    "GRPO step, answers of at most 512 tokens": "a step of GRPO",
    "GRPO, time to a reward of 0.9 on sums, from the quickstart's SFT": "GRPO until a reward is reached",
    "SFT, long tail of lengths, against TRL packed": "SFT on chains with a long tail of lengths",
    "Rollouts in groups": "rollouts, 8 samples a prompt",
    "Rollouts, one a prompt": "rollouts, 1 sample a prompt",
    "evaluation overhead, zero-cost engine": "what the evaluation itself costs",
    "data, 113,957 chains: everything": "114k chains read, filtered, verified, decontaminated",
}
"""What the README shows, and how it says it."""
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


def headlines(entries: list[dict[str, Any]]) -> str:
    named = {entry["name"]: entry for entry in entries}
    rows = [headline(said, named[name]) for name, said in HEADLINES.items()]
    return "| | ours | theirs | times |\n|---|---|---|---|\n" + "".join(rows)


def headline(said: str, entry: dict[str, Any]) -> str:
    peer, ratio, _ = against(entry) if entry["peer"] is not None else ("", "", "")
    return f"| {said} | {number(entry['ours'])} {entry['unit']} | {peer} | {ratio} |\n"


def with_headlines(readme: str, entries: list[dict[str, Any]]) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + headlines(entries) + END + after


if __name__ == "__main__":
    results = json.loads((HERE / "results.json").read_text())
    (HERE / "RESULTS.md").write_text(render(results))
    README.write_text(with_headlines(README.read_text(), results))
