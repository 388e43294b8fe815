"""Prints the results of finished runs as a Markdown table: `python docs/tables.py runs/quickstart [RUN...]`.

The runs differ in their seed. Each cell has the accuracy of every run, in %, in the order given. Below the
table: what stages add on the images of a domain; with several runs, intervals are over seeds and items.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

from xreasoner.evals.statistics import Difference, difference_over_seeds, paired_difference
from xreasoner.miniworld.problems import CLINICAL, GENERAL

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


def stages_of(runs: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["stage"] for row in runs[0]["results"]))


def mean(rows: list[dict], key: str) -> float | None:
    """The mean over all items of these rows."""
    count = sum(row["n"] for row in rows)
    return sum(row[key] * row["n"] for row in rows) / count if count else None


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def line(
    title: str, runs: list[dict], picked: dict[str, str], subset: str = "all",
    key: str = "accuracy", show: Callable[[float | None], str] = percent,
) -> str:  # fmt: skip
    """A row of the table: one figure per stage and run, over the results that match `picked`."""
    cells = []
    for stage in stages_of(runs):
        found = [
            [row for row in rows_of(run, stage, subset) if picked.items() <= row.items()] for run in runs
        ]
        cells.append(" / ".join(show(mean(rows, key)) for rows in found))
    return f"| {title} | " + " | ".join(cells) + " |"


def table(runs: list[dict]) -> Iterator[str]:
    stages = stages_of(runs)
    yield "| | " + " | ".join(stages) + " |"
    yield "|---" * (len(stages) + 1) + "|"
    for title, role, modality, domain in KINDS:
        yield line(title, runs, {"role": role, "modality": modality, "domain": domain})
    for subset, suffix in SUBSETS.items():
        for family in FAMILIES:
            picked = {"benchmark": f"many-{family}-image"}
            if any(picked.items() <= row.items() for row in rows_of(runs[0], stages[0], subset)):
                yield line(f"{family}, many steps, images{suffix}", runs, picked, subset)


def thinking(runs: list[dict]) -> Iterator[str]:
    """The length of general many-step thoughts on images, and the share that ended in a forced exit."""
    picked = {"role": "skill", "modality": "image", "domain": "general"}
    yield line(
        "thinking tokens, general images",
        runs,
        picked,
        key="mean_think_tokens",
        show=lambda mean: f"{mean:.0f}",
    )
    yield line(
        "forced exits, %, general images", runs, picked, key="forced", show=lambda share: f"{100 * share:.1f}"
    )


def solved(run: Path, stage: str, families: tuple[str, ...]) -> dict[str, float]:
    """Of each many-step image problem, whether it was solved."""
    files = [run / "evals" / stage / f"many-{family}-image.jsonl" for family in families]
    answers = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]
    return {answer["problem_id"]: float(answer["score"]["correct"] is True) for answer in answers}


def difference(before: list[dict[str, float]], after: list[dict[str, float]]) -> Difference:
    items = sorted(before[0])
    old, new = ([[run[item] for item in items] for run in runs] for runs in (before, after))
    return difference_over_seeds(old, new, items) if len(old) > 1 else paired_difference(old[0], new[0])


def differences(runs: list[Path]) -> Iterator[str]:
    pairs = [("base", "sft"), ("sft", "rl"), ("rl", "med-sft"), ("med-sft", "med-rl"), ("sft", "med-rl")]
    for families in (GENERAL, CLINICAL):
        yield f"\nmany steps, images, {', '.join(families)}:"
        for stages in pairs:
            before, after = ([solved(run, stage, families) for run in runs] for stage in stages)
            if not all((*before, *after)):
                continue
            means = [100 * fmean(fmean(run.values()) for run in side) for side in (before, after)]
            change = difference(before, after)
            yield (
                f"- {stages[0]} {means[0]:.0f}, {stages[1]} {means[1]:.0f}: {100 * change.difference:+.0f} "
                f"[{100 * change.low:.0f}, {100 * change.high:.0f}], p = {change.p:.1g}"
            )


if __name__ == "__main__":
    found = [json.loads((Path(run) / "results.json").read_text()) for run in sys.argv[1:]]
    print("\n".join([*table(found), *thinking(found), *differences([Path(run) for run in sys.argv[1:]])]))
