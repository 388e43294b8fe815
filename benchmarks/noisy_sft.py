"""The quickstart's SFT on text with noise on the embeddings: does it solve more behind loosely aligned eyes?

    OMP_NUM_THREADS=1 python benchmarks/noisy_sft.py OUT --lowest 0.7 --seed 0
    OMP_NUM_THREADS=1 python benchmarks/noisy_sft.py OUT --behind runs/curve/level3-seed0/base

In training each word is turned to another direction each time, to a cosine from `--lowest` to 1; nothing
else is changed, and no picture is shown. benchmarks/loosened.py measures the checkpoint OUT/sft in the tied
world. With --behind, what was learned is grafted behind the eyes of bases of looser worlds, and measured
there, in % of 50 dev problems of each general family.
"""

import argparse
from pathlib import Path

import torch

from curve import finetune, shown
from xreasoner.miniworld.eyes.measure import accuracies
from xreasoner.miniworld.eyes.turning import noisy_embeddings
from xreasoner.miniworld.eyes.worlds import LEVELS
from xreasoner.miniworld.problems import GENERAL
from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.surgery import detach, graft

PROBES = ("many steps, text", "read, seen looks", "many steps, images, seen looks", "many steps, images")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--lowest", type=float, default=0.7, help="1 for no noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--behind", type=Path, nargs="*", default=[])
    parser.add_argument("--level", type=int, default=3, help="of these bases")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    wanted.out.mkdir(parents=True, exist_ok=True)
    text = wanted.out / "text"
    if not text.exists():
        with noisy_embeddings(wanted.lowest):
            trained = finetune(MINIWORLD, wanted.out / "run", wanted.seed, [])
        (wanted.out / "sft").symlink_to(trained.resolve())
        detach(trained, text)
    for base in wanted.behind:
        grafted = wanted.out / f"behind-{base.parent.name}"
        if not grafted.exists():
            graft(base, text, grafted)
        print(base, shown(accuracies(grafted, LEVELS[wanted.level], "dev", 50, GENERAL, PROBES)), flush=True)


if __name__ == "__main__":
    main()
