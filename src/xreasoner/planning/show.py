"""The outlook of a recipe as tables and plain sentences."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xreasoner.planning.cost import GENERATING_EFFICIENCY, LONG_TAIL, TRAINING_EFFICIENCY
from xreasoner.planning.gpus import Gpus
from xreasoner.planning.memory import Memory
from xreasoner.planning.outlook import Outlook
from xreasoner.planning.shapes import Shape


def print_outlooks(
    title: str, shape: Shape, gpus: Gpus, outlooks: Sequence[Outlook], console: Console
) -> None:
    console.print(
        f"{title}: {shape.parameters / 1e9:.2f} billion weights learn text, on {gpus}",
        style="bold",
        highlight=False,
    )
    console.print(memory_table(outlooks, gpus))
    console.print(cost_table(outlooks))
    for outlook in outlooks:
        if not outlook.fits(gpus):
            console.print(f"{outlook.stage} does not fit. What to change, each on top of the one before:")
        for line in outlook.advice:
            console.print(f"  {line}", highlight=False, markup=False)
    console.print(
        f"Assumed: {TRAINING_EFFICIENCY:.0%} of the peak in training, {GENERATING_EFFICIENCY:.0%} of the "
        f"memory's speed in generating, answers of {LONG_TAIL:.0%} of the thinking budget on average. "
        "Memory is for the longest row that the settings allow.",
        style="dim",
        highlight=False,
    )


def memory_table(outlooks: Sequence[Outlook], gpus: Gpus) -> Table:
    table = Table("GB on each GPU", "during", *Memory().parts(), "total", "", box=None)
    for outlook in outlooks:
        for phase in outlook.phases:
            parts = phase.memory.parts()
            verdict = "fits" if phase.memory.total <= gpus.memory else f"over {gpus.memory / 1e9:.0f}"
            cells = [f"{size / 1e9:,.1f}" if size else "" for size in (*parts.values(), phase.memory.total)]
            table.add_row(outlook.stage, phase.name, *cells, verdict)
    return table


def cost_table(outlooks: Sequence[Outlook]) -> Table:
    columns = ("stage", "GPUs", "problems", "steps", "tokens trained", "generated", "FLOPs", "hours")
    table = Table(*columns, box=None)
    for outlook in outlooks:
        cost, amount = outlook.cost, outlook.amount
        if cost is None or amount is None:
            continue
        source = "" if amount.is_measured else " (typical)"
        table.add_row(
            outlook.stage,
            str(outlook.gpus),
            f"{amount.problems:,} x {amount.mean_tokens:,.0f} tokens{source}",
            f"{cost.steps:,}",
            f"{cost.trained_tokens / 1e6:,.0f} M",
            f"{cost.generated_tokens / 1e6:,.0f} M" if cost.generated_tokens else "",
            f"{cost.flops:.1e}",
            f"{cost.hours:,.1f}",
        )
    return table
