"""The estimate of a recipe as tables with advice."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xreasoner.estimate.disk_time import DISK, ON_MACHINE, TO_HOST
from xreasoner.estimate.estimate import PROMPT, StageEstimate
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.memory import Memory
from xreasoner.estimate.model_shape import Shape
from xreasoner.estimate.time import GENERATING_EFFICIENCY, LONG_TAIL, TRAINING_EFFICIENCY
from xreasoner.estimate.vllm_share import VllmShare
from xreasoner.terminal.fitted_table import FittedTable


def print_estimates(
    title: str, shape: Shape, gpus: Gpus, estimates: Sequence[StageEstimate], console: Console
) -> None:
    console.print(
        f"{title}: {shape.parameters / 1e9:.2f} B trainable language parameters, on {gpus}",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    console.print(FittedTable(memory_table(estimates, gpus)))
    console.print(FittedTable(compute_table(estimates)))
    console.print(FittedTable(host_table(estimates)))
    for estimate in estimates:
        if estimate.vllm:
            console.print(vllm_line(estimate.stage, estimate.vllm), highlight=False, soft_wrap=True)
    for estimate in estimates:
        if not estimate.fits(gpus):
            console.print(f"{estimate.stage} does not fit. To save memory, each on top of the previous:")
        for line in estimate.advice:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        "~: typical of the corpus, because the data is not prepared yet. "
        f"Assumed: {TRAINING_EFFICIENCY:.0%} of peak FLOPs training, {GENERATING_EFFICIENCY:.0%} of memory "
        f"bandwidth in generation, a mean answer of {LONG_TAIL:.0%} of the thinking budget. "
        f"{DISK / 1e9:.0f} GB/s from and to the disk of a machine, which has {ON_MACHINE} GPUs; "
        f"{TO_HOST / 1e9:.0f} GB/s from a GPU to its host; prompts of {PROMPT} tokens, in evaluation with an "
        "image of a megapixel. "
        "Memory is for the longest row that the settings allow.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def host_table(estimates: Sequence[StageEstimate]) -> Table:
    """Reading, saving, and the memory of the machine that both need."""
    table = Table("stage", box=None)
    for name in ("host GB a GPU", "GB read", "s", "GB a state", "s waiting", "s to write", "GB a checkpoint"):
        table.add_column(name, justify="right")
    for estimate in estimates:
        row = [estimate.stage, _short(estimate.host / 1e9)]
        if disk := estimate.disk:
            row += [_short(disk.read / 1e9), _short(disk.load), _short(disk.state / 1e9)]
            row += [_short(disk.pause), _short(disk.write), _short(disk.checkpoint / 1e9)]
        table.add_row(*row)
    return table


def vllm_line(stage: str, vllm: VllmShare) -> str:
    waiting = ", and the rest wait" if vllm.asked > vllm.holds else ""
    return (
        f"{stage}: with vLLM, {vllm.given / 1e9:,.1f} GB: {vllm.weights / 1e9:,.1f} of weights, and a cache "
        f"that holds {vllm.holds:,} answers of {vllm.longest:,} tokens. {vllm.asked:,} are asked for at once"
        f"{waiting}."
    )


def memory_table(estimates: Sequence[StageEstimate], gpus: Gpus) -> Table:
    peaks = [(estimate.stage, peak.name, peak.memory) for estimate in estimates for peak in estimate.peaks]
    table = Table("GB on each GPU", box=None)
    for stage, name, _ in peaks:
        table.add_column(f"{stage}\n{name}", justify="right")
    for part in Memory().parts():
        sizes = [memory.parts()[part] for _, _, memory in peaks]
        table.add_row(part, *(f"{size / 1e9:,.1f}" if size else "" for size in sizes))
    totals = [memory.total for _, _, memory in peaks]
    table.add_row("total", *(f"{total / 1e9:,.1f}" for total in totals), style="bold")
    over = f"over {gpus.memory / 1e9:.0f}"
    table.add_row("", *("fits" if total <= gpus.memory else over for total in totals))
    return table


def compute_table(estimates: Sequence[StageEstimate]) -> Table:
    table = Table("stage", box=None)
    for name in ("GPUs", "problems", "tokens each", "steps", "M trained", "M generated", "FLOPs", "hours"):
        table.add_column(name, justify="right")
    for estimate in estimates:
        compute, data_size = estimate.compute, estimate.data_size
        if data_size is None:
            continue
        if compute is None:
            table.add_row(estimate.stage, str(estimate.gpus), *("?" * 7))
            continue
        about = "" if data_size.is_measured else "~"
        table.add_row(
            estimate.stage,
            str(estimate.gpus),
            f"{about}{data_size.problems:,}",
            f"{about}{data_size.mean_tokens:,.0f}",
            f"{compute.steps:,}",
            _short(compute.trained_tokens / 1e6),
            _short(compute.generated_tokens / 1e6) if compute.generated_tokens else "",
            f"{compute.flops:.1e}",
            _short(compute.hours),
        )
    return table


def _short(number: float) -> str:
    """Two digits at least, so that a small run does not seem to be none."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
