"""How loose may the tie between pictures and words be before text-only SFT stops helping on images?

    OMP_NUM_THREADS=1 python benchmarks/curve.py OUT --levels 0 2 3 5 --seeds 0 1 2 [--parts PARTS]
    OMP_NUM_THREADS=1 python benchmarks/curve.py OUT --levels 3 --pulls 1 0.1 0
    OMP_NUM_THREADS=1 python benchmarks/curve.py OUT --levels 3 --sections 4 6 6

For each level (docs/miniworld.md), pull and seed: a base made in that world (with --sections, in other
positions), text-only SFT with the quickstart's SFT stage, and the accuracy of both on general problems. All
bases of a seed start from the same language model, and from the same tower unless a symbol has several visual
tokens; both are kept in PARTS. Results are added to OUT/curve.json, and the table of all that is in it is
printed. With --draw, the figure of the documentation is drawn from docs/curve.json, which holds these rows
and those of loosened.py.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from xreasoner.miniworld.base.make import make_base
from xreasoner.miniworld.base.settings import BaseSettings
from xreasoner.miniworld.model import save_base
from xreasoner.miniworld.pictures.worlds import LEVELS, VisualWorld
from xreasoner.miniworld.probes.measure import accuracies, alignment, solved_as_read, solved_if_read
from xreasoner.miniworld.problems import GENERAL
from xreasoner.models.side_files import new_folder
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.storage.files import write_json

GREY = "#7a7f87"
PUBLISHED = Path(__file__).parent.parent / "docs" / "curve.json"
QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
ONE_QUESTION = {"source": "miniworld", "families": ["sums"], "steps": [1, 1], "views": ["text"], "count": 1}


def finetune(base: Path, out: Path, seed: int, overrides: list[str]) -> Path:
    """The quickstart's SFT stage alone, from another base, on thoughts that all show their work."""
    recipe = yaml.safe_load(QUICKSTART.read_text())
    recipe["stages"] = {"sft": recipe["stages"]["sft"]}
    for entry in recipe["stages"]["sft"]["data"]:
        entry.pop("brief", None)
    recipe |= {"model": str(base.resolve()), "seed": seed, "out": str(out)}
    recipe["evaluation"]["benchmarks"] = [ONE_QUESTION]
    written = out.with_suffix(".yaml")
    written.parent.mkdir(exist_ok=True)
    written.write_text(yaml.safe_dump(recipe, sort_keys=False))
    run_recipe(read_recipe(written, overrides), Console(quiet=True), [])
    (checkpoint,) = (out / "stages").glob("*-sft/checkpoint")
    return checkpoint


def general(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: sum(by_family.values()) / len(by_family) for name, by_family in found.items()}


def named_world(level: int, pull: float | None, sections: list[int] | None) -> tuple[str, VisualWorld]:
    name, world = f"level{level}", LEVELS[level]
    if pull is not None:
        name, world = f"{name}-pull{pull:g}", replace(world, pull=pull)
    if sections is not None:
        of_time, height, width = sections
        name = f"{name}-sections{of_time}-{height}-{width}"
        world = replace(world, sections=(of_time, height, width))
    return name, world


def measure(level: int, pull: float | None, seed: int, wanted: argparse.Namespace) -> dict[str, Any]:
    started = time.process_time()
    made_in, world = named_world(level, pull, wanted.sections)
    steps = "" if wanted.steps == BaseSettings.steps else f"-steps{wanted.steps}"
    of_base = f"{made_in}{steps}-seed{seed}"
    name, base = f"{of_base}{wanted.tag}", wanted.out / of_base / "base"
    if not (base / "config.json").exists():
        settings = replace(BaseSettings(), seed=seed, steps=wanted.steps)
        model = make_base(settings, world, print_now, wanted.parts or wanted.out / "parts")
        with new_folder(base) as folder:
            save_base(model, folder)
    made = time.process_time() - started
    row: dict[str, Any] = {
        "name": name,
        "level": level,
        "world": world.name,
        "pull": world.pull,
        "sections": world.sections,
        "seed": seed,
        "steps": wanted.steps,
        "split": wanted.split,
        "count": wanted.count,
        "alignment": alignment(base, world),
        "base": accuracies(base, world, wanted.split, wanted.count, GENERAL),
    }
    print_now(f"{name} base {shown(row['base'])}\n  {row['alignment']}")
    if not wanted.no_sft:
        trained = finetune(base, wanted.out / name / "sft", seed, wanted.set)
        row["sft"] = accuracies(trained, world, wanted.split, wanted.count, GENERAL)
        asked = (trained, world, wanted.split, wanted.count, GENERAL)
        row["read, then right, right unread"] = solved_if_read(*asked)
        row["read aloud, then text"] = solved_as_read(*asked)
        print_now(f"{name} sft  {shown(row['sft'])}")
    return row | {"cpu_seconds": [round(made), round(time.process_time() - started)], "set": wanted.set}


def shown(found: dict[str, dict[str, float]]) -> str:
    return "; ".join(
        f"{name}: {' / '.join(f'{100 * one:.0f}' for one in by_family.values())}"
        for name, by_family in found.items()
    )


def same_run(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["split"]


COLUMNS = {
    "read, seen looks": ("base", "read, seen looks"),
    "read, new looks": ("base", "read, new looks"),
    "moved 2 px": ("base", "read, new looks, moved 2"),
    "one step, images, asked to think": ("base", "one step, images, asked to think"),
    "many steps, text, base": ("base", "many steps, text"),
    "text, SFT": ("sft", "many steps, text"),
    "many steps, images, base": ("base", "many steps, images"),
    "images, SFT": ("sft", "many steps, images"),
    "read after SFT": ("sft", "read, new looks"),
    "read aloud, then text": ("read aloud, then text", "new looks"),
}


GREEN, ORANGE, BLUE = "#2e9e6b", "#d9822b", "#3b6fd4"
TURNED = {
    "reads a scene (base)": (GREEN, "base", "read"),
    "answers in one step (base)": (BLUE, "base", "one step"),
    "many steps, scene read aloud first (SFT)": (GREY, "sft", "read aloud, then text"),
    "many steps (SFT)": (ORANGE, "sft", "many steps"),
}
TRAINED = {
    "reads": (GREEN, "base", "read, new looks"),
    "one step": (BLUE, "base", "one step, images, asked to think"),
    "read aloud first": (GREY, "read aloud, then text", "new looks"),
    "many steps": (ORANGE, "sft", "many steps, images"),
}
TITLES = {
    "quickstart": "quickstart:\na picture has the\npositions of its text",
    "two tokens": "two visual tokens\nfor each symbol",
    "own positions": "positions of\nQwen2.5-VL",
    "own positions, lower rate": "positions of\nQwen2.5-VL,\nrate of SFT 5e-4",
}
"""The published rows that are drawn, by their label."""


def percent(row: dict[str, Any], stage: str, probe: str) -> float | None:
    """The mean over the families."""
    return 100 * general(row[stage])[probe] if probe in row.get(stage, {}) else None


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"| level | seed | cosine | {' | '.join(COLUMNS)} |", "|---" * (3 + len(COLUMNS)) + "|"]
    for row in sorted(rows, key=lambda row: (row["level"], row["seed"])):
        found = [percent(row, *column) for column in COLUMNS.values()]
        cells = ["" if one is None else f"{one:.0f}" for one in found]
        cosine = "" if row["alignment"] is None else f"{row['alignment']['cosine']:.2f}"
        lines.append(f"| {row['name']} | {row['seed']} | {cosine} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(trained: list[dict[str, Any]], turned: list[dict[str, Any]], out: Path) -> None:
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    draw_turned(left, turned)
    draw_trained(right, trained)
    for panel in (left, right):
        panel.set_ylim(0, 102)
        panel.tick_params(colors=GREY, length=0)
        panel.grid(axis="y", color=GREY, alpha=0.2)
        panel.spines[:].set_visible(False)
    left.set_ylabel("accuracy on images, %", color=GREY)
    left.legend(frameon=False, fontsize=9, labelcolor=GREY, loc="lower left")
    figure.savefig(out, transparent=True, metadata={"Date": None})


def draw_turned(panel: Axes, rows: list[dict[str, Any]]) -> None:
    """The mean over directions and checkpoints as a line; each of them is a point."""
    as_it_is = [row for row in rows if row["change"] == "as it is"]
    turns = [*as_it_is, *(row for row in rows if row["towards"])]
    cosines = sorted({row["cosine"] for row in turns}, reverse=True)
    for name, (colour, stage, probe) in TURNED.items():
        points = [
            (row["cosine"], 100 * mean(found[probe].values()))
            for row in turns
            for found in (row["sft"] if stage == "sft" else [row["base"]])
        ]
        panel.scatter(*zip(*points, strict=True), color=colour, s=9, alpha=0.5, linewidths=0)
        means = [mean(height for at, height in points if at == cosine) for cosine in cosines]
        panel.plot(cosines, means, color=colour, linewidth=2, label=name)
    panel.invert_xaxis()
    panel.set_xticks(cosines)
    panel.set_xlabel("cosine of visual tokens to their words", color=GREY)
    panel.set_title("Visual tokens turned away, nothing trained", color=GREY, fontsize=10)


def draw_trained(panel: Axes, rows: list[dict[str, Any]]) -> None:
    """A point for each seed, and a ring around their mean."""
    for place, label in enumerate(TITLES):
        seeds = [row for row in rows if row["label"] == label]
        for shift, (colour, stage, probe) in zip((-0.2, -0.07, 0.07, 0.2), TRAINED.values(), strict=True):
            heights = [100 * general(row[stage])[probe] for row in seeds]
            panel.scatter([place + shift] * len(heights), heights, color=colour, s=14, linewidths=0)
            panel.scatter(place + shift, mean(heights), s=90, facecolors="none", edgecolors=colour)
    panel.set_xticks(range(len(TITLES)), list(TITLES.values()), fontsize=8)
    panel.set_xlim(-0.5, len(TITLES) - 0.5)
    panel.set_title("Trained with pictures (cosine about 0.6)", color=GREY, fontsize=10)


def print_now(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/curve"))
    parser.add_argument("--levels", type=int, nargs="+", default=list(range(len(LEVELS))))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pulls", type=float, nargs="+", default=[None], help="instead of the level's own")
    parser.add_argument("--sections", type=int, nargs=3, metavar=("TIME", "HEIGHT", "WIDTH"))
    parser.add_argument("--parts", type=Path, help="where language models and towers are kept: OUT/parts")
    parser.add_argument("--steps", type=int, default=BaseSettings.steps, help="on text and pictures")
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--count", type=int, default=60, help="problems per family and probe")
    parser.add_argument("--no-sft", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the recipe, such as sft.lr=1e-3")
    parser.add_argument("--tag", default="", help="ends the name of the row, and of its SFT")
    parser.add_argument("--draw", action="store_true", help="only draw the published results")
    wanted = parser.parse_args()
    if wanted.draw:
        rows = json.loads(PUBLISHED.read_text())
        print_now(table(rows["trained"]))
        shown_rows = [row for row in rows["trained"] if row.get("label") in TITLES]
        draw(shown_rows, rows["turned"], PUBLISHED.with_suffix(".svg"))
        return
    torch.set_num_threads(1)
    wanted.out.mkdir(parents=True, exist_ok=True)
    results = wanted.out / "curve.json"
    for seed, level, pull in product(wanted.seeds, wanted.levels, wanted.pulls):
        row = measure(level, pull, seed, wanted)
        rows = json.loads(results.read_text()) if results.exists() else []
        others = [one for one in rows if same_run(one) != same_run(row)]
        write_json(results, [*others, row])
    print_now(table(json.loads(results.read_text())))


if __name__ == "__main__":
    main()
