"""Writes RESULTS.md, and the table in the README, from results.json: `python benchmarks/render.py`."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- made by benchmarks/render.py -->\n", "<!-- end -->\n"
REAL, REAL_BFLOAT16, SMALL = "0.5B, real weights", "0.5B, bfloat16", "1M"
HEADLINES = {
    "0.5B, float32: SFT packed, all weights": (REAL, "SFT, all weights"),
    "0.5B, float32: SFT packed, LoRA": (REAL, "SFT, LoRA"),
    "0.5B, float32: SFT packed, LoRA, peak memory": (REAL, "SFT, LoRA, peak memory"),
    "0.5B, float32: GRPO step, 8 answers to a prompt": (REAL, "GRPO step"),
    "0.5B, float32: GRPO update alone, same answers": (REAL, "GRPO update"),
    "0.5B, float32: rollouts, 8 answers to a prompt": (REAL, "rollouts, 8 samples per prompt"),
    "0.5B, bfloat16: SFT packed, all weights": (REAL_BFLOAT16, "SFT, all weights"),
    "0.5B, bfloat16: SFT packed, LoRA": (REAL_BFLOAT16, "SFT, LoRA"),
    "0.5B, bfloat16: GRPO step, 8 answers to a prompt": (REAL_BFLOAT16, "GRPO step"),
    "0.5B, bfloat16: GRPO update alone, same answers": (REAL_BFLOAT16, "GRPO update"),
    "0.5B, bfloat16: rollouts, 8 answers to a prompt": (REAL_BFLOAT16, "rollouts, 8 samples per prompt"),
    "GRPO step, answers of at most 512 tokens": (SMALL, "GRPO step"),
    "GRPO, time to a reward of 0.9 on sums, from the quickstart's SFT": (
        SMALL,
        "GRPO, time to reach a reward of 0.9",
    ),
    "SFT, long-tailed lengths, against TRL packed": (SMALL, "SFT, long-tailed lengths"),
    "Rollouts, 8 samples per prompt": (SMALL, "rollouts, 8 samples per prompt"),
    "Rollouts, 1 sample per prompt": (SMALL, "rollouts, 1 sample per prompt"),
    "evaluation overhead, zero-cost engine": ("", "evaluation overhead"),
    "data, 113,957 chains: everything": ("", "preparing 114k chains: read, filter, verify, decontaminate"),
}
"""What the README shows: the size of the model, and a label."""
SECTIONS = {
    "A real model of 0.5B parameters": ("0.5B",),
    "Training": ("SFT", "GRPO", "loss", "estimate"),
    "Rollouts": ("Rollouts",),
    "Evaluation and grading": ("evaluation", "grading"),
    "Data": ("data", "decontamination"),
    "Detach and graft": ("detach", "graft"),
    "Growth": ("growth",),
}
"""By the first word of an entry's name."""
HEADER = """# Measurements

Generated from `results.json` by `python benchmarks/render.py`; the benchmarks write that file. A ratio
above 1 means that ours is better. Both sides ran alternately on the same machine with the same model, data
and precision, and the peer with its best settings. The spread is that of the ratios per round.
"""
COLUMNS = "| what | ours | peer | ratio | spread | target |\n|---|---|---|---|---|---|\n"

Entry = dict[str, Any]


def row(entry: Entry) -> str:
    cells = (
        entry["name"],
        f"{number(entry['ours'])} {entry['unit']}",
        *(against(entry) if entry["peer"] is not None else ("", "", "")),
        str(entry["aim"]),
    )
    return "| " + " | ".join(cells) + " |\n"


def against(entry: Entry) -> tuple[str, str, str]:
    low, high = entry["spread"]
    peer = f"{number(entry['peer'])} ({entry['peer_version']})"
    return peer, f"**{entry['ratio']:.2f}**", f"{low:.2f} to {high:.2f}"


def number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def section_of(entry: Entry) -> str:
    first = entry["name"].split()[0].rstrip(",:")
    (section,) = [section for section, words in SECTIONS.items() if first in words]
    return section


def section(title: str, entries: list[Entry]) -> str:
    commands = dict.fromkeys((entry["command"], entry["device"], entry["date"]) for entry in entries)
    made_by = "".join(f"- `{command}` ({device}, {date})\n" for command, device, date in commands)
    return f"\n## {title}\n\n{COLUMNS}{''.join(map(row, entries))}\nMeasured by\n\n{made_by}"


def render(entries: list[Entry]) -> str:
    sections = {title: [entry for entry in entries if section_of(entry) == title] for title in SECTIONS}
    return HEADER + "".join(section(title, found) for title, found in sections.items() if found)


def headlines(entries: list[Entry]) -> str:
    named = {entry["name"]: entry for entry in entries}
    rows = [headline(size, label, named[name]) for name, (size, label) in HEADLINES.items()]
    return "| model | | ours | peer | ratio |\n|---|---|---|---|---|\n" + "".join(rows)


def headline(size: str, label: str, entry: Entry) -> str:
    peer, ratio, _ = against(entry) if entry["peer"] is not None else ("", "", "")
    return f"| {size} | {label} | {number(entry['ours'])} {entry['unit']} | {peer} | {ratio} |\n"


def with_headlines(readme: str, entries: list[Entry]) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + headlines(entries) + END + after


if __name__ == "__main__":
    results = json.loads((HERE / "results.json").read_text())
    (HERE / "RESULTS.md").write_text(render(results))
    README.write_text(with_headlines(README.read_text(), results))
