"""Writes the table of estimates into docs/scale.md: `python docs/estimates.py`."""

import re
from collections.abc import Iterator
from pathlib import Path

from xreasoner.estimate.estimate import StageEstimate, estimate_recipe
from xreasoner.estimate.gpus import Gpus, read_gpus
from xreasoner.estimate.model_shape import KNOWN
from xreasoner.recipe.file import read_recipe

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- made by docs/estimates.py -->\n", "<!-- end of the estimates -->\n"

MODELS = ("3B", "7B", "32B", "72B")
MACHINES = {
    "1xRTX4090-24": "x-reasoner-3b-lora",
    "1xH100-80": "x-reasoner-3b-lora",
    "8xH100-80": "x-reasoner-7b",
    "4x8xH100-80": "x-reasoner-7b",
}
"""With the recipe: adapters on one card, all weights on several."""
MEMORY = (
    "model", "GPUs", "SFT", "GRPO: update", "answers", "cache of", "vLLM holds", "images", "does not fit"
)  # fmt: skip
DISK = ("model", "GPUs", "read", "state", "waits", "written", "checkpoint", "GRPO: host", "evaluation: host")


def estimates(model: str, gpus: Gpus, recipe: str) -> dict[str, StageEstimate]:
    read = read_recipe(ROOT / "recipes" / f"{recipe}.yaml")
    shape = KNOWN[f"Qwen/Qwen2.5-VL-{model}-Instruct"]
    return {one.stage: one for one in estimate_recipe(read, shape, gpus, {})}


def memory_row(gpus: Gpus, found: dict[str, StageEstimate]) -> list[str]:
    sft, rl, images = found["sft"], found["rl"], found["evaluation"]
    update, answers = (peak.memory for peak in rl.peaks)
    assert rl.vllm
    return [
        f"{sft.peaks[0].memory.total / 1e9:.1f}",
        f"{update.total / 1e9:.1f}",
        f"{answers.total / 1e9:.1f}",
        f"{rl.vllm.asked}: {answers.kv_cache / 1e9:.1f}",
        f"{rl.vllm.holds}",
        f"{images.peaks[0].memory.total / 1e9:.1f}",
        "; ".join(remedy(one) for one in found.values() if not one.fits(gpus)),
    ]


def remedy(estimate: StageEstimate) -> str:
    """A stage that does not fit, with the settings that make it fit; without where none do."""
    *_, last = estimate.advice
    if not last.endswith("fits"):
        return estimate.stage
    settings = [re.sub(r"^\w+: |(: \d+ GB)?,? fits$|: \d+ GB$", "", line) for line in estimate.advice]
    return f"{estimate.stage}, but with {', '.join(f'`{one}`' for one in settings)}"


def disk_row(gpus: Gpus, found: dict[str, StageEstimate]) -> list[str]:
    rl = found["rl"]
    assert rl.disk
    return [
        f"{rl.disk.read / 1e9:.1f} in {rl.disk.load:.0f} s",
        f"{rl.disk.state / 1e9:.1f}",
        f"{rl.disk.pause:.1f} s",
        f"{rl.disk.write:.0f} s",
        f"{rl.disk.checkpoint / 1e9:.1f}",
        f"{rl.host / 1e9:.1f}",
        f"{found['evaluation'].host / 1e9:.1f}",
    ]


def tables() -> Iterator[str]:
    for columns, cells in ((MEMORY, memory_row), (DISK, disk_row)):
        yield "| " + " | ".join(columns) + " |"
        yield "|---" * len(columns) + "|"
        for model in MODELS:
            for machine, recipe in MACHINES.items():
                gpus = read_gpus(machine)
                first = [model, f"{gpus.count} x {gpus.memory / 1e9:.0f}"]
                yield "| " + " | ".join(first + cells(gpus, estimates(model, gpus, recipe))) + " |"
        yield ""


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n".join(tables()) + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
