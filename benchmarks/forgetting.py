"""Which clinical SFT forgets least? Variants of the quickstart's `med-sft`, each from the same checkpoint.

    xreasoner run recipes/quickstart.yaml med-sft=null med-rl=null --out runs/general
    OMP_NUM_THREADS=1 python benchmarks/forgetting.py runs/general/stages/2-rl/checkpoint OUT [--only lora]

Writes OUT/recipe.yaml, in which each variant is a stage of its own, runs it, and prints accuracies on images
of development items, in %. `base` is the start.
"""

import argparse
import json
from copy import deepcopy
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from rich.console import Console

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe

QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
GENERAL = ["sums", "bars", "shapes"]
GENERAL_CHAINS = {"source": "miniworld", "families": GENERAL, "steps": [2, 6]}


def variants(shipped: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Stages by name; all take the clinical problems of `shipped`."""
    clinical = [entry for entry in shipped["data"] if entry["families"] == ["labs"]]

    def stage(chains: int, scenes: int, **changes: Any) -> dict[str, Any]:
        """With so many general problems a family, and so many general scenes to read."""
        general = [
            *([GENERAL_CHAINS | {"count": chains}] if chains else []),
            *([GENERAL_CHAINS | {"count": scenes, "task": "read"}] if scenes else []),
        ]
        return deepcopy(shipped) | {"from": "base", "data": [*clinical, *general]} | changes

    return {
        "large-steps": stage(500, 0, steps=90, tokens_per_step=4096),
        "chains-0": stage(0, 0),
        "chains-500": stage(500, 200, steps=180),
        "quickstart": stage(1000, 200),
        "lora": stage(1000, 200, lr=3e-3, lora={"rank": 16, "alpha": 32}),
    }


def recipe_of(model: Path, seed: int, count: int, only: list[str]) -> dict[str, Any]:
    quickstart = yaml.safe_load(QUICKSTART.read_text())
    stages = variants(quickstart["stages"]["med-sft"])
    drawn = {"source": "miniworld", "split": "dev", "views": ["image"], "count": count}
    many, read = drawn | {"name": "many"}, drawn | {"name": "read", "task": "read", "asked": "plainly"}
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
                read | {"role": "perception", "families": GENERAL, "steps": [2, 4]},
            ]
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    found = {(row["stage"], row["benchmark"]): 100 * row["accuracy"] for row in rows}
    names = list(dict.fromkeys(stage for stage, _ in found))
    columns = ("general images", *GENERAL, "clinical images", "general scenes read")
    lines = [f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in names:
        general = [found[name, f"many-{family}-image"] for family in GENERAL]
        read = mean(found[name, f"read-{family}-image"] for family in GENERAL)
        cells = [mean(general), *general, found[name, "many-labs-image"], read]
        lines.append(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=150, help="problems per family")
    parser.add_argument("--only", nargs="*", default=[], help="names of variants")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    wanted.out.mkdir(parents=True, exist_ok=True)
    written = wanted.out / "recipe.yaml"
    written.write_text(
        yaml.safe_dump(recipe_of(wanted.model, wanted.seed, wanted.count, wanted.only), sort_keys=False)
    )
    run_recipe(read_recipe(written, [f"out={wanted.out / 'run'}"]), Console(quiet=True), [])
    print(table(json.loads((wanted.out / "run" / "results.json").read_text())["results"]))


if __name__ == "__main__":
    main()
