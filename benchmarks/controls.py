"""Images solved as they are, read aloud and solved as text, and with the image of another problem.

    xreasoner run recipes/quickstart.yaml rl=null med-sft=null med-rl=null --out runs/sft-0
    OMP_NUM_THREADS=1 python benchmarks/controls.py sft=runs/sft-0/stages/1-sft/checkpoint [--count 100]

Many-step problems of the general families, in %. Read aloud: the reader (by default the same checkpoint) is
asked to write down what the image shows, and the checkpoint then solves the text.
"""

import argparse
from pathlib import Path
from statistics import mean

import torch

from xreasoner.miniworld.probes.controls import as_they_are, controls, many_steps
from xreasoner.miniworld.problems import GENERAL
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.rollout.torch_engine.engine import TorchEngine


def engine_of(checkpoint: str) -> TorchEngine:
    return TorchEngine(load(MINIWORLD if checkpoint == "base" else Path(checkpoint)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", help="name=FOLDER; base=base is the shipped base")
    parser.add_argument("--reader", help="another checkpoint that reads aloud, or `base`")
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    columns: list[str] = []
    for name, _, checkpoint in (one.partition("=") for one in wanted.checkpoints):
        engine = engine_of(checkpoint)
        reader = engine_of(wanted.reader) if wanted.reader else engine
        asked = {family: many_steps(family, wanted.split, wanted.count) for family in GENERAL}
        found = {
            family: as_they_are(engine, items) | controls(engine, reader, items)
            for family, items in asked.items()
        }
        if not columns:
            columns = list(found[GENERAL[0]])
            print(f"| checkpoint | {' | '.join(columns)} |\n{'|---' * (1 + len(columns))}|")
        cells = [
            f"{100 * mean(mean(found[family][column]) for family in GENERAL):.0f}"
            f" ({' / '.join(f'{100 * mean(found[family][column]):.0f}' for family in GENERAL)})"
            for column in columns
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
