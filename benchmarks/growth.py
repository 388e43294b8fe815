"""How the cost grows: tokens, group size, vocabulary and evaluated items, each doubled four times.

    OMP_NUM_THREADS=1 python benchmarks/growth.py     # also draws docs/growth.svg

Processor seconds of one thread, the least of two runs; a model of 1M parameters with random weights. The loss
alone is measured at the vocabularies and the hidden size of a real model.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from transformers import AutoModelForCausalLM

from apart import processor_seconds
from eval_overhead import make_items
from eval_overhead import ours as evaluate_items
from side_by_side import alone, measure_with, record, write_model, written_problems
from xreasoner.chat.template import Example
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Score
from xreasoner.train import grpo
from xreasoner.train.loss import Head, LanguageModelLoss, target_loss
from xreasoner.train.rows import pack
from xreasoner.train.step_display import NoDisplay

OUT = Path(__file__).parent.parent / "docs" / "growth.svg"
DOUBLINGS = 4
HIDDEN, TARGETS = 896, 256
PROMPTS, CAP = 4, 128
COLOURS = ("#3b6fd4", "#d9822b", "#2e9e6b", "#b0468f", "#5b5f97")
GREY = "#7a7f87"


@dataclass(frozen=True)
class Axis:
    name: str
    smallest: int
    seconds: Callable[[int], float]

    @property
    def sizes(self) -> list[int]:
        return [self.smallest << doubling for doubling in range(DOUBLINGS + 1)]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_model(folder / "start")
        self.problems = written_problems(PROMPTS, lambda rng: 1)
        measure_with("cpu", grpo)

    def axes(self) -> list[Axis]:
        return [
            Axis(
                "tokens of a packed row, in sequences of 256", 1024, lambda n: self.step([256] * (n // 256))
            ),
            Axis("tokens of one sequence", 512, lambda n: self.step([n])),
            Axis("samples in a group", 4, self.grpo_step),
            Axis("entries of the vocabulary", 8192, loss_at),
            Axis("evaluated items", 250, lambda n: n / evaluate_items(make_items(n), "cpu")),
        ]

    def step(self, lengths: list[int]) -> float:
        """Forward and backward pass of one row."""
        model = AutoModelForCausalLM.from_pretrained(self.folder / "start", dtype=torch.float32)
        examples = [Example(tuple(torch.randint(10, 60, (n,)).tolist()), (True,) * n) for n in lengths]
        loss, row = LanguageModelLoss(model), pack(examples, torch.device("cpu"))

        def work() -> None:
            with loss.attention():
                loss(row).loss.backward()

        return timed(work)

    def grpo_step(self, samples: int) -> float:
        """Sampling and update, each group whole."""
        settings = GrpoStage.model_validate(
            {
                "kind": "grpo",
                "data": [{"source": "jsonl", "path": "in-memory"}],
                "steps": 1,
                "lr": 1e-9,
                "prompts_per_step": PROMPTS,
                "samples_per_prompt": samples,
                "think_budget": CAP - 16,
                "answer_budget": 16,
                "forced_exit": False,
                "skip_zero_spread": False,
                "tokens_per_microbatch": 2048,
                "dtype": "float32",
            }
        )
        out = self.folder / "grpo"
        shutil.rmtree(out, ignore_errors=True)
        grpo.train_grpo(settings, self.folder / "start", self.problems, [], out, 0, NoDisplay())
        (line,) = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
        return float(line["rollout_seconds"] + line["update_seconds"])


class EveryOther:
    """In place of the grader, so that sampling and learning alone are timed."""

    def __enter__(self) -> "EveryOther":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score_many(self, pairs: list[tuple[Problem, str]]) -> list[Score]:
        return [Score(len(text) % 2 == 0, text[:8], "a coin") for _, text in pairs]


def loss_at(vocabulary: int) -> float:
    head = Head(torch.empty(vocabulary, HIDDEN).normal_(std=0.02).requires_grad_())
    hidden_NE = torch.randn(TARGETS, HIDDEN, requires_grad=True)
    target_N = torch.randint(vocabulary, (TARGETS,))
    return timed(lambda: target_loss(hidden_NE, head, target_N).loss.backward())


def timed(work: Callable[[], None]) -> float:
    began = processor_seconds()
    work()
    return processor_seconds() - began


def draw(measured: dict[str, tuple[list[int], list[float]]]) -> None:
    figure = Figure(figsize=(7.8, 3.9), layout="constrained")
    panel = figure.subplots()
    times = [1 << doubling for doubling in range(DOUBLINGS + 1)]
    panel.plot(times, times, color=GREY, linewidth=1, linestyle="dashed", label="linear")
    for (name, (_, seconds)), colour in zip(measured.items(), COLOURS, strict=True):
        costs = [one / seconds[0] for one in seconds]
        panel.plot(times, costs, color=colour, linewidth=2, marker="o", markersize=4, label=name)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    panel.set_xticks(times, [f"{n}x" for n in times])
    panel.set_yticks(times, [f"{n}x" for n in times])
    panel.set_xlabel("size", color=GREY)
    panel.set_ylabel("processor time", color=GREY)
    panel.tick_params(colors=GREY, length=0)
    panel.grid(color=GREY, alpha=0.2)
    panel.spines[:].set_visible(False)
    panel.legend(frameon=False, fontsize=9, labelcolor=GREY)
    figure.savefig(OUT, transparent=True, metadata={"Date": None})


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    grpo.Grader = EveryOther  # type: ignore[assignment,misc]
    measured: dict[str, tuple[list[int], list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for axis in Bench(Path(folder)).axes():
            axis.seconds(axis.smallest)  # warm-up
            seconds = [min(axis.seconds(size) for _ in range(2)) for size in axis.sizes]
            measured[axis.name] = axis.sizes, seconds
            cells = " | ".join(f"{size:,}: {one:.3g}" for size, one in zip(axis.sizes, seconds, strict=True))
            print(f"| {axis.name} | {cells} |", flush=True)
    draw(measured)
    record(
        [
            alone(
                f"growth, {name}, {sizes[0]:,} to {sizes[-1]:,}: CPU time",
                seconds[-1] / seconds[0],
                f"times, for {sizes[-1] // sizes[0]} times the size",
                "16 or less",
            )
            for name, (sizes, seconds) in measured.items()
        ]
    )


if __name__ == "__main__":
    main()
