"""Prints the results of finished runs as a Markdown table: `python docs/tables.py runs/quickstart [RUN...]`.

The runs differ in their seed. Each cell has the accuracy of every run, in %, in the order given. Below the
table: what stages add on the images of a domain; with several runs, intervals are over seeds and items.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

from xreasoner.evals.comparisons import change_between, change_over_seeds
from xreasoner.evals.samples import Answers, read_answers
from xreasoner.evals.summary import item_scores
from xreasoner.miniworld.problems import CLINICAL, GENERAL
from xreasoner.miniworld.thoughts import WITHOUT_WORK

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
    """Those after which every run was evaluated."""
    first, *others = ([row["stage"] for row in run["results"]] for run in runs)
    return [stage for stage in dict.fromkeys(first) if all(stage in other for other in others)]


def mean(rows: list[dict], key: str) -> float | None:
    """The mean over all items of these rows."""
    count = sum(row["n"] for row in rows)
    return sum(row[key] * row["n"] for row in rows) / count if count else None


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def line(
    title: str, runs: list[dict], picked: dict[str, str], subset: str = "all",
    key: str = "accuracy", show: Callable[[float], str] = percent,
) -> str:  # fmt: skip
    """A row of the table: one figure per stage and run, over the results that match `picked`."""
    cells = []
    for stage in stages_of(runs):
        found = [
            [row for row in rows_of(run, stage, subset) if picked.items() <= row.items()] for run in runs
        ]
        means = (mean(rows, key) for rows in found)
        cells.append(" / ".join("-" if one is None else show(one) for one in means))
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


def answers_of(run: Path, stage: str, families: tuple[str, ...]) -> Answers:
    """To the many-step image problems of these families."""
    files = [run / "evals" / stage / f"many-{family}-image.jsonl" for family in families]
    parts = [read_answers(file) for file in files if file.exists()]
    problems = {name: kept for part in parts for name, kept in part.problems.items()}
    return Answers(problems, tuple(sample for part in parts for sample in part.samples))


def share_right(answers: Answers) -> float:
    return fmean(score or 0.0 for score in item_scores(answers.samples).values())


def brief(runs: list[Path], stages: list[str]) -> Iterator[str]:
    """Which general many-step thoughts on images leave out the work."""
    cells = []
    for stage in stages:
        samples = [answers_of(run, stage, GENERAL).samples for run in runs]
        cells.append(" / ".join(percent(fmean(WITHOUT_WORK in one.text for one in some)) for some in samples))
    yield "| thoughts without the work, %, general images | " + " | ".join(cells) + " |"


def differences(runs: list[Path], stages: list[str]) -> Iterator[str]:
    pairs = [("base", "sft"), ("sft", "rl"), ("rl", "med-sft"), ("med-sft", "med-rl"), ("sft", "med-rl")]
    pairs = [pair for pair in pairs if set(pair) <= set(stages)]
    for families in (GENERAL, CLINICAL):
        yield f"\nmany steps, images, {', '.join(families)}:"
        for pair in pairs:
            before, after = ([answers_of(run, stage, families) for run in runs] for stage in pair)
            several = len(runs) > 1
            change = change_over_seeds(before, after) if several else change_between(before[0], after[0])
            if change is None:
                continue
            means = [100 * fmean(share_right(one) for one in side) for side in (before, after)]
            yield (
                f"- {pair[0]} {means[0]:.0f}, {pair[1]} {means[1]:.0f}: {100 * change.difference:+.0f} "
                f"[{100 * change.low:.0f}, {100 * change.high:.0f}], p = {change.p:.1g}"
            )


if __name__ == "__main__":
    paths = [Path(run) for run in sys.argv[1:]]
    found = [json.loads((path / "results.json").read_text()) for path in paths]
    evaluated = stages_of(found)
    print(
        "\n".join([*table(found), *thinking(found), *brief(paths, evaluated), *differences(paths, evaluated)])
    )
