"""Prints what finished runs found, as a table in Markdown: `python docs/tables.py runs/quickstart [RUN...]`.

Each cell has the accuracy of every run, in %, in the order they are named: runs that differ in their seed.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

KINDS = (
    ("many steps, images, general", "skill", "image", "general"),
    ("many steps, text, general", "skill", "text", "general"),
    ("many steps, images, clinical", "skill", "image", "clinical"),
    ("many steps, text, clinical", "skill", "text", "clinical"),
    ("perception, images, general", "perception", "image", "general"),
    ("perception, images, clinical", "perception", "image", "clinical"),
)
FAMILIES = ("sums", "bars", "shapes", "labs")
SUBSETS = {"all": "", "image-needed": ", only items that need the image"}


def rows_of(run: dict, stage: str, subset: str) -> list[dict]:
    return [row for row in run["results"] if row["stage"] == stage and row["subset"] == subset]


def accuracy(rows: list[dict]) -> str:
    """Over all items of the rows together."""
    count = sum(row["n"] for row in rows)
    return f"{100 * sum(row['accuracy'] * row['n'] for row in rows) / count:.0f}" if count else "-"


def line(title: str, runs: list[dict], stages: list[str], picked: dict[str, str], subset: str) -> str:
    cells = []
    for stage in stages:
        found = [
            [row for row in rows_of(run, stage, subset) if all(row[k] == v for k, v in picked.items())]
            for run in runs
        ]
        cells.append(" / ".join(accuracy(rows) for rows in found))
    return f"| {title} | " + " | ".join(cells) + " |"


def table(runs: list[dict]) -> Iterator[str]:
    stages = list(dict.fromkeys(row["stage"] for row in runs[0]["results"]))
    yield "| | " + " | ".join(stages) + " |"
    yield "|---" * (len(stages) + 1) + "|"
    for title, role, modality, domain in KINDS:
        yield line(title, runs, stages, {"role": role, "modality": modality, "domain": domain}, "all")
    for subset, suffix in SUBSETS.items():
        for family in FAMILIES:
            picked = {"benchmark": f"many-{family}-image"}
            if any(
                row["subset"] == subset and row["benchmark"] in picked.values() for row in runs[0]["results"]
            ):
                yield line(f"{family}, many steps, images{suffix}", runs, stages, picked, subset)


def thinking(runs: list[dict]) -> Iterator[str]:
    """How long the general many-step thoughts on images are, and how many had to be closed by force."""
    stages = list(dict.fromkeys(row["stage"] for row in runs[0]["results"]))
    for key, title in (("mean_think_tokens", "tokens of thought"), ("forced", "closed by force, %")):
        cells = []
        for stage in stages:
            means = []
            for run in runs:
                rows = [r for r in rows_of(run, stage, "all") if r["role"] == "skill"]
                rows = [r for r in rows if r["modality"] == "image" and r["domain"] == "general"]
                mean = sum(row[key] * row["n"] for row in rows) / sum(row["n"] for row in rows)
                means.append(f"{100 * mean:.1f}" if key == "forced" else f"{mean:.0f}")
            cells.append(" / ".join(means))
        yield f"| {title} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    found = [json.loads((Path(run) / "results.json").read_text()) for run in sys.argv[1:]]
    print("\n".join([*table(found), *thinking(found)]))
