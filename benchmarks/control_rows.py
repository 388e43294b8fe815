"""Controls of the quickstart's SFT and GRPO over seeds: each is trained, measured, and set beside SFT.

    for N in 0 1 2; do xreasoner miniworld base runs/bases/$N --seed $N; done
    OMP_NUM_THREADS=1 python benchmarks/control_rows.py OUT --bases runs/bases --rows direct [--seeds 0 1 2]
    OMP_NUM_THREADS=1 python benchmarks/control_rows.py OUT --rows

The second makes a row of the table, the third prints all that is in OUT. Many-step problems in %; sampled: at
temperature 1, as GRPO does, and else greedy. Each row is the quickstart with other settings (ROWS), each seed
with a base of its own; a run or a measurement that is in OUT is kept. The intervals of differences generalise
over seeds and over items (two-way clustering, Student's t); with one seed over items.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from rich.console import Console

from xreasoner.evals.statistics import Difference, difference_over_seeds, paired_difference, t_quantile
from xreasoner.miniworld.probes.controls import DIFFICULTIES, as_they_are, controls, many_steps
from xreasoner.miniworld.problems import CLINICAL, GENERAL
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.rollout.torch_engine.engine import TorchEngine

QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
GENERAL_STAGES = ["med-sft=null", "med-rl=null"]
SFT_STAGE = ["rl=null", *GENERAL_STAGES]
WORKED = ["sft.data.0.brief=0", "sft.data.1.brief=0", "sft.data.2.brief=0"]
"""The entries of the SFT data that have brief thoughts."""
DIRECT_STEPS = 1627
"""In 480 steps of thoughts, 56.5% of the tokens are targets; of answers alone, 16.7%."""


@dataclass(frozen=True)
class Row:
    shown: str
    run: str
    """Rows that share a run differ in how far it goes."""
    flags: list[str]
    stage: str
    reads: bool = False
    """Whether the controls that read and swap images are measured too."""


ROWS = {
    "sft": Row("SFT on its own thoughts", "general", SFT_STAGE, "sft", reads=True),
    "worked": Row("SFT on thoughts that all show their work", "worked", [*WORKED, *SFT_STAGE], "sft"),
    "worked-rl": Row("the same, then GRPO", "worked", [*WORKED, *GENERAL_STAGES], "rl"),
    "others": Row(
        "SFT on thoughts of other problems of the family",
        "others",
        ["sft.answers=shuffled_in_families", *SFT_STAGE],
        "sft",
        reads=True,
    ),
    "direct-short": Row(
        "SFT on answers without thoughts, as many steps",
        "direct-short",
        ["sft.answers=direct", *SFT_STAGE],
        "sft",
        reads=True,
    ),
    "direct": Row(
        "SFT on answers without thoughts, as many target tokens",
        "direct",
        ["sft.answers=direct", f"sft.steps={DIRECT_STEPS}", *SFT_STAGE],
        "sft",
        reads=True,
    ),
    "rl": Row("SFT, then GRPO", "general", GENERAL_STAGES, "rl", reads=True),
    "rl-only": Row("GRPO only", "rl-only", ["sft=null", *GENERAL_STAGES], "rl"),
    "domain-only": Row("clinical stages only", "domain-only", ["sft=null", "rl=null"], "med-rl"),
    "whole": Row("all four stages", "general", [], "med-rl", reads=True),
}
COLUMNS = (
    "text",
    "images",
    "images, sampled",
    "images, asked plainly",
    "read aloud, then text",
    "images of others",
    "read without errors",
)

Found = dict[str, dict[str, list[bool]]]
"""By family and column, whether each item was solved."""


def base_of(seed: int, bases: Path | None) -> Path:
    return bases / str(seed) if bases else MINIWORLD


def checkpoint_of(row: Row, seed: int, wanted: argparse.Namespace) -> Path:
    run = wanted.out / f"{row.run}-{seed}"
    base = base_of(seed, wanted.bases).resolve()
    train_only = [f"model={base}", f"seed={seed}", f"out={run}", "evaluation.after=[]"]
    run_recipe(read_recipe(QUICKSTART, [*row.flags, *train_only]), Console(quiet=True), [])
    (checkpoint,) = (run / "stages").glob(f"[0-9]-{row.stage}/checkpoint")
    return checkpoint


def measure(checkpoint: Path, reads: bool, count: int) -> Found:
    engine = TorchEngine(load(checkpoint))
    found: Found = {}
    for family in (*GENERAL, *CLINICAL):
        items = many_steps(family, "dev", count)
        found[family] = as_they_are(engine, items)
        if reads and family in GENERAL:
            found[family] |= controls(engine, engine, items)
    return found


def kept(name: str, seed: int, out: Path) -> Path:
    return out / "answers" / f"{name}-{seed}.json"


def make(name: str, seed: int, wanted: argparse.Namespace) -> None:
    file = kept(name, seed, wanted.out)
    if file.exists():
        return
    row = ROWS.get(name)
    checkpoint = checkpoint_of(row, seed, wanted) if row else base_of(seed, wanted.bases)
    found = measure(checkpoint, row is None or row.reads, wanted.count)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))


def solved(found: Found, families: tuple[str, ...], column: str) -> list[float]:
    return [float(right) for family in families for right in found[family].get(column, [])]


def over_seeds(shares: list[float]) -> str:
    """The mean, what t makes of so few seeds, and each seed."""
    mean, each = 100 * fmean(shares), " / ".join(f"{100 * share:.0f}" for share in shares)
    if len(shares) == 1:
        return f"{mean:.0f}"
    half = 100 * t_quantile(0.025, len(shares) - 1) * stdev(shares) / len(shares) ** 0.5
    return f"{mean:.0f} ± {half:.0f} ({each})"


def shown(difference: Difference) -> str:
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.difference:+.0f} [{low:.0f}, {high:.0f}], p = {difference.p:.1g}"


def measured(name: str, out: Path) -> dict[int, Found]:
    """By seed."""
    files = sorted((out / "answers").glob(f"{name}-?.json"))
    return {int(file.stem[-1]): json.loads(file.read_text()) for file in files}


def compared(a: dict[int, Found], b: dict[int, Found], families: tuple[str, ...], column: str) -> str:
    """b less a, over the seeds that both have. With one seed the interval is over items alone."""
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return ""
    before, after = ([solved(one[seed], families, column) for seed in seeds] for one in (a, b))
    if len(seeds) == 1:
        return shown(paired_difference(before[0], after[0]))
    items = [str(place) for place in range(len(before[0]))]
    return shown(difference_over_seeds(before, after, items))


def title(name: str) -> str:
    return ROWS[name].shown if name in ROWS else name


def table(out: Path, families: tuple[str, ...]) -> Iterator[str]:
    base, own = measured("base", out), measured("sft", out)
    titles = [*COLUMNS, "images: less the base", "images: less SFT", "sampled: less SFT"]
    yield f"| {', '.join(families)} | {' | '.join(titles)} |"
    yield "|---" * (1 + len(titles)) + "|"
    for name in ("base", *ROWS):
        seeds = measured(name, out)
        if not seeds:
            continue
        cells = []
        for column in COLUMNS:
            by_seed = [solved(found, families, column) for found in seeds.values()]
            cells.append(over_seeds([fmean(one) for one in by_seed]) if all(by_seed) else "")
        less = ["" if name == "base" else compared(base, seeds, families, "images")]
        for column in ("images", "images, sampled"):
            less.append("" if name in ("base", "sft") else compared(own, seeds, families, column))
        yield f"| {title(name)} | {' | '.join(cells)} | {' | '.join(less)} |"


def by_length(out: Path) -> Iterator[str]:
    """General problems of the lengths that SFT has mostly without the work, and of longer ones."""
    lengths = {"3 and 4 steps": (0, 1), "5 and 6 steps": (2, 3)}
    views = [(length, view) for view in ("text", "images") for length in lengths]
    yield "| | " + " | ".join(f"{length}, {view}" for length, view in views) + " |"
    yield "|---" * (1 + len(views)) + "|"
    for name in ("base", *ROWS):
        if not (seeds := measured(name, out)):
            continue
        cells = [
            over_seeds([fmean(of_length(found, view, lengths[length])) for found in seeds.values()])
            for length, view in views
        ]
        yield f"| {title(name)} | {' | '.join(cells)} |"


def of_length(found: Found, column: str, places: tuple[int, ...]) -> list[float]:
    """Difficulties take turns."""
    return [
        float(right)
        for family in GENERAL
        for place in places
        for right in found[family][column][place::DIFFICULTIES]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--bases", type=Path, help="one for each seed; without it, all have the shipped base")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--count", type=int, default=100, help="dev problems per family")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    for seed in wanted.seeds if wanted.rows else []:
        for name in ("base", *wanted.rows):
            make(name, seed, wanted)
    for families in (GENERAL, CLINICAL):
        print("\n".join(table(wanted.out, families)), end="\n\n")
    print("\n".join(by_length(wanted.out)))


if __name__ == "__main__":
    main()
