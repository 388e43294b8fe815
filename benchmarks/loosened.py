"""How far may the visual tokens of a tied base be turned away from their words, without any training?

    xreasoner run recipes/quickstart.yaml rl=null med-sft=null med-rl=null --out runs/sft-0
    OMP_NUM_THREADS=1 python benchmarks/loosened.py runs/sft-0/stages/1-sft/checkpoint [--count 100]

In the shipped base a visual token is the embedding of its word (cosine 0.99). Here each is turned to a
smaller cosine, its length kept: towards one direction for all tokens, as a gap between pictures and text
would; towards one for each word; or towards another each time. Then the base reads and answers in one step,
and the SFT checkpoint, trained on text alone, reads and solves problems of many steps, for which its thoughts
restate the scene first; `--count` problems of each general family, in %. In the last row height and width
have rope frequencies of their own, as in Qwen2.5-VL.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xreasoner.miniworld.controls import MANY_STEPS, replies
from xreasoner.miniworld.eyes.measure import restatement, share_right
from xreasoner.miniworld.eyes.turning import TOWARDS, Towards, Turning
from xreasoner.miniworld.eyes.worlds import QWENS
from xreasoner.miniworld.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.problems import GENERAL, Split, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine

COSINES = (0.95, 0.9, 0.8, 0.7, 0.5)
COLUMNS = ("base: read", "base: one step", "SFT: read", "SFT: restated", "SFT: many steps")
ONE_STEP_SUMS = 60
"""Few different ones exist."""
PUBLISHED = Path(__file__).parent.parent / "docs" / "loosened.json"


@dataclass(frozen=True)
class Change:
    """What is done to a checkpoint before it is measured."""

    towards: Towards | None = None
    cosine: float = 1.0
    own_positions: bool = False

    def __str__(self) -> str:
        if self.own_positions:
            return "own positions"
        return f"{self.towards}, {self.cosine}" if self.towards else "as it is"

    def engine(self, checkpoint: Path) -> TorchEngine:
        loaded = load(checkpoint)
        model: Any = loaded.model
        if self.towards:
            words = model.get_input_embeddings().weight.detach().clone()
            visual = model.model.visual
            visual.merger = Turning(visual.merger, words, self.towards, self.cosine)
        if self.own_positions:
            model.model.language_model.rotary_emb.mrope_section = list(QWENS)
        return TorchEngine(loaded)


def changes(cosines: Sequence[float]) -> list[Change]:
    turns = [Change(towards, cosine) for towards in TOWARDS for cosine in cosines]
    return [Change(), *turns, Change(own_positions=True)]


def read(family: str, split: Split, count: int) -> list[Problem]:
    return [read_problem(item, "image", 0) for item in make_items(family, (2, 4), count, split, 0)]


def one_step(family: str, split: Split, count: int) -> list[Problem]:
    few = min(count, ONE_STEP_SUMS) if family == "sums" else count
    return [phrase(item, "image", 0, choice_share=0.0) for item in make_items(family, (1, 1), few, split, 0)]


def many_steps(engine: TorchEngine, family: str, split: Split, count: int) -> tuple[float, float]:
    """The shares of problems that are solved, and of thoughts that restate the scene as it is."""
    items = make_items(family, MANY_STEPS, count, split, 0)
    problems = [phrase(item, "image", 0, choice_share=0.0) for item in items]
    said = replies(engine, problems, THINK_INSTRUCTION)
    with Grader() as grader:
        right = [grader.score(problem, said[problem.id]).correct is True for problem in problems]
    restated = [
        restatement(said[problem.id]).split() == item.scene.words()
        for problem, item in zip(problems, items, strict=True)
    ]
    return sum(right) / count, sum(restated) / count


def measure(change: Change, base: Path, trained: Path, split: Split, count: int) -> dict[str, Any]:
    before, after = change.engine(base), change.engine(trained)
    found: dict[str, dict[str, float]] = {column: {} for column in COLUMNS}
    for family in GENERAL:
        found["base: read"][family] = share_right(before, read(family, split, count), None)
        found["base: one step"][family] = share_right(before, one_step(family, split, count), None)
        found["SFT: read"][family] = share_right(after, read(family, split, count), None)
        found["SFT: restated"][family], found["SFT: many steps"][family] = reversed(
            many_steps(after, family, split, count)
        )
    return {"change": str(change), "towards": change.towards, "cosine": change.cosine, **found}


def line(row: dict[str, Any]) -> str:
    cells = [
        f"{100 * sum(row[column].values()) / len(GENERAL):.0f}"
        f" ({' / '.join(f'{100 * row[column][family]:.0f}' for family in GENERAL)})"
        for column in COLUMNS
    ]
    return f"| {row['change']} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trained", type=Path, help="the SFT checkpoint")
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--cosines", type=float, nargs="+", default=COSINES)
    parser.add_argument("--out", type=Path, default=Path("runs/loosened.json"))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"| visual tokens | {' | '.join(COLUMNS)} |\n{'|---' * (1 + len(COLUMNS))}|")
    for change in changes(wanted.cosines):
        rows.append(measure(change, MINIWORLD, wanted.trained, wanted.split, wanted.count))
        print(line(rows[-1]), flush=True)
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        wanted.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
