"""How far may the visual tokens of a tied base be turned away from their words, without any training?

    xreasoner miniworld base runs/tied --level 0
    xreasoner run recipes/quickstart.yaml model=runs/tied seed=N rl=null med-sft=null med-rl=null --out runs/N
    OMP_NUM_THREADS=1 python benchmarks/loosened.py runs/tied runs/[012]/stages/1-sft/checkpoint [--count 50]

In the tied base a visual token is the embedding of its word (cosine 0.99). Here each is turned to a
smaller cosine, its length kept: towards one direction for all tokens, as a gap between pictures and text
would; towards one for each word; or towards another each time. Then the base reads and answers in one step;
the SFT checkpoints, trained on text alone (N = 0, 1, 2), solve problems of many steps, for which a thought
restates the scene first; and they read the scene aloud and solve it as text. `--count` dev problems of each
general family, in %. In the last row height and width have rope frequencies of their own, as in Qwen2.5-VL.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.item import Item
from xreasoner.miniworld.pictures.worlds import LEVELS, QWENS
from xreasoner.miniworld.probes.controls import MANY_STEPS, as_read, replies, transcribed
from xreasoner.miniworld.probes.measure import pictured, restatement, share_right
from xreasoner.miniworld.probes.turning import TOWARDS, Towards, Turning
from xreasoner.miniworld.problems import GENERAL, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.storage.files import write_json

COSINES = (0.95, 0.9, 0.8, 0.7, 0.5)
ONE_STEP_SUMS = 60
"""Few different ones exist."""
Found = dict[str, dict[str, float]]
"""By probe and family."""


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


def changes(towards: Sequence[Towards], cosines: Sequence[float]) -> list[Change]:
    turns = [Change(one, cosine) for one in towards for cosine in cosines]
    return [Change(), *turns, Change(own_positions=True)]


def asked(family: str, steps: tuple[int, int], count: int) -> list[Problem]:
    few = min(count, ONE_STEP_SUMS) if (family, steps) == ("sums", (1, 1)) else count
    items = make_items(family, steps, few, "dev", 0)
    return [drawn(phrase(item, "image", 0, choice_share=0.0), item) for item in items]


def drawn(problem: Problem, item: Item) -> Problem:
    return pictured(problem, item, LEVELS[0], "dev")


def of_base(engine: TorchEngine, count: int) -> Found:
    scenes = {family: make_items(family, (2, 4), count, "dev", 0) for family in GENERAL}
    return {
        "read": {
            family: share_right(engine, [drawn(read_problem(item, "image", 0), item) for item in items], None)
            for family, items in scenes.items()
        },
        "one step": {family: share_right(engine, asked(family, (1, 1), count), None) for family in GENERAL},
    }


def said_of(engine: TorchEngine, items: list[Item]) -> list[str]:
    return transcribed(engine, [drawn(read_problem(item, "image", 0), item) for item in items])


def of_trained(engine: TorchEngine, count: int) -> Found:
    found: Found = {"restated": {}, "many steps": {}, "read aloud, then text": {}}
    for family in GENERAL:
        items, problems = make_items(family, MANY_STEPS, count, "dev", 0), asked(family, MANY_STEPS, count)
        said = replies(engine, problems, THINK_INSTRUCTION)
        with Grader() as grader:
            right = [grader.score(problem, said[problem.id]).correct is True for problem in problems]
        restated = [
            restatement(said[problem.id]).split() == item.scene.words()
            for problem, item in zip(problems, items, strict=True)
        ]
        as_text = [as_read(*pair) for pair in zip(problems, said_of(engine, items), strict=True)]
        found["restated"][family] = sum(restated) / count
        found["many steps"][family] = sum(right) / count
        found["read aloud, then text"][family] = share_right(engine, as_text, THINK_INSTRUCTION)
    return found


def line(row: dict[str, Any]) -> str:
    """Means over the families, and of the SFT checkpoints each."""
    cells = [f"{100 * mean(by_family.values()):.0f}" for by_family in row["base"].values()]
    cells += [
        " / ".join(f"{100 * mean(found[probe].values()):.0f}" for found in row["sft"])
        for probe in row["sft"][0]
    ]
    return f"| {row['change']} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("trained", type=Path, nargs="+", help="SFT checkpoints")
    parser.add_argument("--count", type=int, default=50, help="problems per family")
    parser.add_argument("--towards", choices=TOWARDS, nargs="+", default=TOWARDS)
    parser.add_argument("--cosines", type=float, nargs="+", default=COSINES)
    parser.add_argument("--out", type=Path, default=Path("runs/loosened.json"))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for change in changes(wanted.towards, wanted.cosines):
        row = {
            "change": str(change),
            "towards": change.towards,
            "cosine": change.cosine,
            "count": wanted.count,
            "base": of_base(change.engine(wanted.base), wanted.count),
            "sft": [of_trained(change.engine(trained), wanted.count) for trained in wanted.trained],
        }
        if not rows:
            print(f"| visual tokens | {' | '.join([*row['base'], *row['sft'][0]])} |\n{'|---' * 6}|")
        rows.append(row)
        print(line(row), flush=True)
        write_json(wanted.out, rows)


if __name__ == "__main__":
    main()
