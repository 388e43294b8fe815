"""`xreasoner doctor`: what this machine has, what is missing, and the command that installs it."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table
from rich.text import Text

from xreasoner.cli.console import console

LITTLE_DISK = 50e9
"""Bytes. A 7B model with one training state takes about 100 GB."""

EXTRAS: dict[str, tuple[str, str]] = {
    "peft": ("LoRA", "pip install 'xreasoner[lora]'"),
    "bitsandbytes": ("QLoRA", "pip install 'xreasoner[qlora]'"),
    "vllm": ("faster rollouts and evaluation of large models", "pip install 'xreasoner[vllm]'"),
    "openai": ("a client for `xreasoner serve`", "pip install 'xreasoner[api]'"),
    "inspect_ai": ("to view answers with `inspect view`", "pip install 'xreasoner[inspect]'"),
}
"""By distribution: what it is for, and the command that installs it."""


@dataclass(frozen=True)
class Detail:
    what: str
    found: str
    remedy: str = ""
    """Empty if nothing is missing."""


def doctor() -> None:
    """Show what this machine has, what is missing, and the command that installs it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in (*machine(), *gpus(), *packages()):
        table.add_row(
            Text("!" if one.remedy else "✓", style="yellow" if one.remedy else "green"),
            one.what,
            Text(one.found + (f"\n{one.remedy}" if one.remedy else ""), overflow="fold"),
        )
    console.print(table)


def machine() -> Iterator[Detail]:
    yield Detail("python", platform.python_version())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    threads = os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Detail(
        "processor",
        f"{cores} cores, {memory / 1e9:.0f} GB of memory"
        + (f", OMP_NUM_THREADS={threads}" if threads else ""),
    )
    free = shutil.disk_usage(Path.cwd()).free
    yield Detail(
        "disk",
        f"{free / 1e9:,.0f} GB free in {Path.cwd()}",
        "a 7B model with its training state takes about 100 GB" if free < LITTLE_DISK else "",
    )
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    home = os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    yield Detail("Hugging Face Hub", f"{'offline, only copies' if offline else 'copies'} in {home}")


def gpus() -> Iterator[Detail]:
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Detail("torch", f"{torch.__version__}, built with {built}")
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi") is not None
        yield Detail(
            "GPU",
            "none: small models train on the processor",
            "a driver is installed, but torch does not see the GPU: pip install a torch built for its CUDA"
            if driver
            else "",
        )
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        bfloat16 = "bfloat16" if properties.major >= 8 else "no bfloat16, so float32 is used"
        yield Detail(
            f"GPU {index}", f"{properties.name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, {bfloat16}"
        )


def packages() -> Iterator[Detail]:
    for name in ("transformers", "math-verify"):
        yield Detail(name, version(name))
    for name, (purpose, command) in EXTRAS.items():
        try:
            yield Detail(name, version(name))
        except PackageNotFoundError:
            yield Detail(name, f"not installed: {purpose}", command)
