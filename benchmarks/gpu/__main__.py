"""Everything that needs a GPU, in one command: is it right, how fast is it, what memory does it take.

    python -m benchmarks.gpu [--out gpu.json] [--parts right,sft,rollouts,grpo]
    python -m benchmarks.gpu --tiny       # the same code on small models, on any machine
    python -m benchmarks.gpu --parts real --model FOLDER --gsm8k FOLDER

Models have Qwen2.5's shapes and random weights made on the device; nothing is downloaded. Each part has a
time limit, 8 minutes in all. `real` is not among them: it trains the model of a folder on GSM8K
(recipes/gsm8k-0.5b.yaml). Status 1: a check of `right` misses, or any check breaks. A missed aim of speed is
only a line.
"""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("torch", "transformers", "pydantic", "yaml", "numpy", "peft", "accelerate")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--parts", default="right,sft,rollouts,grpo")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--model", type=Path, help="for `real`: a language model of about 0.5B parameters")
    parser.add_argument("--gsm8k", type=Path, help="for `real`: a folder with train.jsonl and test.jsonl")
    options = parser.parse_args()
    if "real" in options.parts.split(",") and not (options.model and options.gsm8k):
        parser.error("the part `real` needs --model and --gsm8k")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(f"missing: {', '.join(missing)}; see docs/gpu.md for the wheels to bring", file=sys.stderr)
        return 2

    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    from benchmarks.gpu import grpo_step, real_model, right, rollout_speed, sft_speed
    from benchmarks.gpu.suite import Line, read_machine, run_part, write_report

    known = {part.name: part for part in (right.PART, sft_speed.PART, rollout_speed.PART, grpo_step.PART)}
    if options.model and options.gsm8k:
        known["real"] = real_model.part(real_model.Folders(options.model, options.gsm8k))
    machine = read_machine(options.tiny)
    began = time.monotonic()
    found: dict[str, list[Line]] = {}
    allowed = 0.0
    for name in options.parts.split(","):
        found[name] = []
        spare = allowed - (time.monotonic() - began)
        allowed += known[name].seconds
        for line in run_part(known[name], machine, spare):
            found[name].append(line)
            print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)
            write_report(options.out, machine, found, time.monotonic() - began)
    broken = [line for lines in found.values() for line in lines if line.aim == "runs"]
    wrong = [line for line in found.get("right", []) if line.met is False]
    print(f"{sum(map(len, found.values()))} lines in {options.out}; {len(wrong)} wrong, {len(broken)} broken")
    return 1 if broken or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
