"""Which clinical SFT forgets least? Variants of the quickstart's `med-sft`, each from the same checkpoint.

    xreasoner run recipes/quickstart.yaml med-sft=null med-rl=null --out runs/general
    OMP_NUM_THREADS=1 python benchmarks/forgetting.py runs/general/stages/2-rl/checkpoint OUT [--only lora]

Writes OUT/recipe.yaml, in which each variant is a stage of its own, runs it, averages the weights of the
start and of variants (--shares 0.5), and prints accuracies on images of development items, in %. `base` is
the start.
"""

import argparse
import json
import shutil
from copy import deepcopy
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from xreasoner.pipeline.run import evaluate_model, run_recipe
from xreasoner.recipe.file import read_recipe

WEIGHTS = "model.safetensors"
QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
GENERAL = ["sums", "bars", "shapes"]
GENERAL_CHAINS = {"source": "miniworld", "families": GENERAL, "steps": [2, 6]}


def variants(shipped: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Stages by name; all take the clinical problems of `shipped`."""
    clinical = [entry for entry in shipped["data"] if entry["families"] == ["labs"]]

    def stage(chains: int, steps: int, lr: float, **changes: Any) -> dict[str, Any]:
        """With so many general problems a family."""
        rehearsed = [GENERAL_CHAINS | {"count": chains}] if chains else []
        changes |= {"from": "base", "data": [*clinical, *rehearsed], "steps": steps, "lr": lr}
        return deepcopy(shipped) | changes

    return {
        "chains-0": stage(0, 60, 1e-3),
        "chains-200": stage(200, 60, 1e-3),
        "chains-1000": stage(1000, 60, 1e-3),
        "chains-1000-longer": stage(1000, 90, 1e-3),
        "chains-1000-twice": stage(1000, 120, 1e-3),
        "chains-200-longer-6e-4": stage(200, 90, 6e-4),
        "chains-500-longer-6e-4": stage(500, 90, 6e-4),
        "chains-1000-longer-6e-4": stage(1000, 90, 6e-4),
        "lora": stage(200, 60, 3e-3, lora={"rank": 16, "alpha": 32}),
    }


def recipe_of(model: Path, seed: int, count: int, only: list[str]) -> dict[str, Any]:
    quickstart = yaml.safe_load(QUICKSTART.read_text())
    stages = variants(quickstart["stages"]["med-sft"])
    many = {"source": "miniworld", "name": "many", "split": "dev", "views": ["image"], "count": count}
    return quickstart | {
        "name": "forgetting",
        "model": str(model.resolve()),
        "seed": seed,
        "stages": {name: stage for name, stage in stages.items() if not only or name in only},
        "evaluation": quickstart["evaluation"]
        | {
            "benchmarks": [
                many | {"families": GENERAL, "steps": [3, 6]},
                many | {"families": ["labs"], "steps": [2, 5]},
            ]
        },
    }


def average(start: Path, trained: Path, share: float, out: Path) -> None:
    """A checkpoint whose weights are `share` of the trained ones and the rest of those it started from."""
    shutil.copytree(start, out, dirs_exist_ok=True)
    before, after = load_file(start / WEIGHTS), load_file(trained / WEIGHTS)
    weights = {name: torch.lerp(tensor, after[name], share) for name, tensor in before.items()}
    save_file(weights, out / WEIGHTS, {"format": "pt"})


def evaluate_averages(wanted: argparse.Namespace, recipe: Path) -> None:
    for trained in sorted((wanted.out / "run" / "stages").glob("*/checkpoint")):
        for share in wanted.shares:
            name = f"{trained.parent.name.partition('-')[2]}-share-{share:g}"
            if wanted.average and name.partition("-share")[0] not in wanted.average:
                continue
            average(wanted.model, trained, share, wanted.out / name)
            evaluate_model(
                wanted.out / name, name, read_recipe(recipe), wanted.out / "averages", Console(quiet=True)
            )


def table(rows: list[dict[str, Any]]) -> str:
    found = {(row["stage"], row["benchmark"]): 100 * row["accuracy"] for row in rows}
    names = list(dict.fromkeys(stage for stage, _ in found))
    lines = ["| | general images | sums | bars | shapes | clinical images |", "|---|---|---|---|---|---|"]
    for name in names:
        general = [found[name, f"many-{family}-image"] for family in GENERAL]
        cells = [mean(general), *general, found[name, "many-labs-image"]]
        lines.append(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--only", nargs="*", default=[], help="names of variants")
    parser.add_argument("--shares", nargs="*", type=float, default=[], help="of the variant in the average")
    parser.add_argument("--average", nargs="*", default=[], help="names of variants; by default all")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    wanted.out.mkdir(parents=True, exist_ok=True)
    written = wanted.out / "recipe.yaml"
    written.write_text(
        yaml.safe_dump(recipe_of(wanted.model, wanted.seed, wanted.count, wanted.only), sort_keys=False)
    )
    run_recipe(read_recipe(written, [f"out={wanted.out / 'run'}"]), Console(quiet=True), [])
    evaluate_averages(wanted, written)
    results = [wanted.out / folder / "results.json" for folder in ("run", "averages")]
    rows = [row for file in results if file.exists() for row in json.loads(file.read_text())["results"]]
    print(table(rows))


if __name__ == "__main__":
    main()
