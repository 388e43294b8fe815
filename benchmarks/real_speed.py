"""A real model on one core: SFT, GRPO and rollouts against TRL and `generate`, in time and memory.

    pip install -e '.[bench,lora]'
    OMP_NUM_THREADS=1 python benchmarks/real_speed.py MODEL GSM8K [--parts sft lora ...] [--rounds 2]
    OMP_NUM_THREADS=1 python benchmarks/real_speed.py MODEL GSM8K --dtype bfloat16 --parts sft lora rollouts

MODEL is the folder of a causal language model of about 0.5B parameters, GSM8K a folder with train.jsonl and
test.jsonl. Every measurement has a process of its own, so that the peak of memory is its own; the sides
alternate. Seconds are the processor's. TRL gets packed rows, no gradient checkpointing, the fused AdamW and
the same precision.

- SFT: one step on one packed row of whole examples. Loss and gradient norm must equal TRL's.
- GRPO: one step on a group of eight answers. TRL's update is also measured alone, on the very answers that
  ours learned from; loss and gradient norm must be equal there. Answers get a reward of 0 and 1 in turn, so
  grading costs nothing.
- Rollouts: groups of eight answers, which end where the model ends them.
"""

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import transformers

from apart import run_apart
from real_cases import CASES, Found, Setup
from xreasoner.models.tensor_files import parameters


def measure(part: str, rounds: int, arguments: list[str]) -> dict[str, list[Found]]:
    sides: dict[str, list[Found]] = {side: [] for side in CASES[part]}
    for _ in range(rounds):
        for side, measured in sides.items():
            measured.append(run_apart(__file__, *arguments, "--case", part, side))
    return sides


def entries_of(part: str, sides: dict[str, list[Found]], model: str, dtype: str) -> list[dict[str, object]]:
    from side_by_side import entry

    title = f"{model}, {dtype}: "
    other, peer = "trl", f"trl {version('trl')}"
    if part == "rollouts":
        other, peer = "generate", f"transformers {transformers.__version__} generate"

    def compared(
        name: str, ours: str, theirs: str, their_side: str, unit: str, aim: str
    ) -> dict[str, object]:
        own, others = (
            [float(f[key]) for f in sides[side]] for side, key in ((OURS, ours), (their_side, theirs))
        )
        return entry(title + name, own, others, peer, unit, aim, higher_is_better=False)

    def speeds(side: str) -> list[float]:
        return [found["tokens"] / found["seconds"] for found in sides[side]]

    name = TITLES[part]
    memory = compared(f"{name}, peak memory", "mib", "mib", other, "MiB", "1.4x")
    if part != "grpo":
        speed = entry(title + name, speeds(OURS), speeds(other), peer, "tokens/CPU s", "1.5x", True)
        return [speed, memory]
    step = compared(name, "seconds", "seconds", "trl", "CPU s", "")
    update = compared(
        "GRPO update alone, same answers", "update_seconds", "seconds", "trl update", "CPU s", "2.5x"
    )
    return [step, update, memory]


OURS = "ours"
TITLES = {
    "sft": "SFT packed, all weights",
    "lora": "SFT packed, LoRA",
    "grpo": "GRPO step, 8 answers to a prompt",
    "rollouts": "rollouts, 8 answers to a prompt",
}
PARITY = {
    "sft": ("trl", ("loss", "grad_norm")),
    "lora": ("trl", ("loss",)),
    "grpo": ("trl update", ("grad_norm",)),
}
"""What must equal TRL's. Adapters begin at random, so gradients differ; the loss of GRPO's step is zero."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}


def check_parity(part: str, sides: dict[str, list[Found]], dtype: str) -> None:
    side, keys = PARITY.get(part, ("", ()))
    for key in keys:
        own, other = sides["ours"][0][key], sides[side][0][key]
        print(f"{part}: {key} {own:.6g}, TRL's {other:.6g}")
        if abs(own / other - 1) > TOLERANCE[dtype]:
            sys.exit(f"{part}: {key} differs from TRL's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("gsm8k", type=Path)
    parser.add_argument("--parts", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--cap", type=int, default=128)
    parser.add_argument("--long-cap", type=int, default=256)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            setup = Setup(
                options.model,
                options.gsm8k,
                Path(folder),
                options.dtype,
                options.tokens,
                options.cap,
                options.long_cap,
            )
            part, side = options.case
            print(json.dumps(CASES[part][side](setup)))
        return
    from side_by_side import record

    model = f"{parameters(options.model) / 1e9:.1f}B"
    with tempfile.TemporaryDirectory() as folder:
        given = [str(options.model), str(options.gsm8k), "--folder", folder, "--dtype", options.dtype]
        for name in ("tokens", "cap", "long_cap"):
            given += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        for part in options.parts:
            sides = measure(part, options.rounds, given)
            check_parity(part, sides, options.dtype)
            made = entries_of(part, sides, model, options.dtype)
            device = f"{made[0]['device']}".replace("float32", options.dtype)
            record([one | {"device": device} for one in made])


if __name__ == "__main__":
    main()
