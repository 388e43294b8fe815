"""The outlook of a recipe as tables and plain sentences."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xreasoner.estimate.estimate import Outlook
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.memory import Memory
from xreasoner.estimate.shapes import Shape
from xreasoner.estimate.time import GENERATING_EFFICIENCY, LONG_TAIL, TRAINING_EFFICIENCY


def print_outlooks(
    title: str, shape: Shape, gpus: Gpus, outlooks: Sequence[Outlook], console: Console
) -> None:
    console.print(
        f"{title}: {shape.parameters / 1e9:.2f} billion weights learn text, on {gpus}",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    console.print(memory_table(outlooks, gpus))
    console.print(cost_table(outlooks))
    for outlook in outlooks:
        if not outlook.fits(gpus):
            console.print(f"{outlook.stage} does not fit. What to change, each on top of the one before:")
        for line in outlook.advice:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        "~ is typical of the corpus: these data are not prepared yet. "
        f"Assumed: {TRAINING_EFFICIENCY:.0%} of the peak in training, {GENERATING_EFFICIENCY:.0%} of the "
        f"memory's speed in generating, answers of {LONG_TAIL:.0%} of the thinking budget on average. "
        "Memory is for the longest row that the settings allow.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def memory_table(outlooks: Sequence[Outlook], gpus: Gpus) -> Table:
    phases = [(outlook.stage, phase.name, phase.memory) for outlook in outlooks for phase in outlook.phases]
    table = Table("GB on each GPU", box=None)
    for stage, name, _ in phases:
        table.add_column(f"{stage}\n{name}", justify="right")
    for part in Memory().parts():
        sizes = [memory.parts()[part] for _, _, memory in phases]
        table.add_row(part, *(f"{size / 1e9:,.1f}" if size else "" for size in sizes))
    totals = [memory.total for _, _, memory in phases]
    table.add_row("total", *(f"{total / 1e9:,.1f}" for total in totals), style="bold")
    over = f"over {gpus.memory / 1e9:.0f}"
    table.add_row("", *("fits" if total <= gpus.memory else over for total in totals))
    return table


def cost_table(outlooks: Sequence[Outlook]) -> Table:
    table = Table("stage", box=None)
    for name in ("GPUs", "problems", "tokens each", "steps", "M trained", "M generated", "FLOPs", "hours"):
        table.add_column(name, justify="right")
    for outlook in outlooks:
        cost, amount = outlook.cost, outlook.amount
        if amount is None:
            continue
        if cost is None:
            table.add_row(outlook.stage, str(outlook.gpus), *("?" * 7))
            continue
        about = "" if amount.is_measured else "~"
        table.add_row(
            outlook.stage,
            str(outlook.gpus),
            f"{about}{amount.problems:,}",
            f"{about}{amount.mean_tokens:,.0f}",
            f"{cost.steps:,}",
            f"{cost.trained_tokens / 1e6:,.0f}",
            f"{cost.generated_tokens / 1e6:,.0f}" if cost.generated_tokens else "",
            f"{cost.flops:.1e}",
            f"{cost.hours:,.1f}",
        )
    return table
