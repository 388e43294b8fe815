"""A real model through `xreasoner run`: SFT and GRPO on GSM8K, killed in both, against an unbroken run.

    OMP_NUM_THREADS=1 python benchmarks/real_end_to_end.py MODEL GSM8K --out OUT [--vllm PYTHON]

MODEL is the folder of a causal language model of about 0.5B parameters, GSM8K a folder with train.jsonl and
test.jsonl. Two runs of one small recipe: `unbroken`, and `broken`, which is killed (SIGKILL) in the middle of
SFT and of GRPO and started again each time. The SHA-256 of their weights must be the same, and so must their
metrics. Then transformers generates from the last checkpoint, and so does vLLM (the same text, in float32)
with --vllm, the Python of an environment that has it (on a CPU with PYTHONPATH=tests/vllm/site, as
`make test-vllm` does). About 15 minutes of one core. The results are printed, and written to
OUT/end_to_end.json.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.evals.benchmarks.text import read_gsm8k
from xreasoner.evals.eval_options import INSTRUCTION
from xreasoner.models.load import load

RECIPE = """
name: real-end-to-end
model: {model}
instruction: >-
  {instruction}
stages:
  sft:
    kind: sft
    data: [{{source: gsm8k, path: {gsm8k}/train.jsonl, limit: 60}}]
    filters: {{thoughts: required}}
    steps: 5
    lr: 5e-4
    lora: {{rank: 16, alpha: 32}}
    tokens_per_step: 400
    checkpoint_every: 2
  rl:
    kind: grpo
    data: [{{source: gsm8k, path: {gsm8k}/train.jsonl, limit: 200}}]
    filters: {{max_tokens: 160}}
    steps: 2
    lr: 1e-4
    lora: {{rank: 16, alpha: 32}}
    prompts_per_step: 4
    samples_per_prompt: 6
    temperature: 0.7
    think_budget: 80
    answer_budget: 12
    tokens_per_microbatch: 1024
    checkpoint_every: 1
    samples_every: 1
evaluation:
  after: [base, rl]
  think_budget: 80
  answer_budget: 12
  benchmarks:
    - {{source: benchmark, name: gsm8k, path: {gsm8k}/test.jsonl, count: 4}}
"""
SFT, GRPO = "1-sft", "2-rl"


def run(recipe: Path, out: Path, until: Callable[[], bool] | None = None) -> float:
    """Seconds. With `until`, the run is killed as soon as it is true."""
    began = time.monotonic()
    with out.with_suffix(".log").open("a") as log:
        command = [sys.executable, "-m", "xreasoner", "run", str(recipe), "--out", str(out)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if until is not None and until():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return time.monotonic() - began
            time.sleep(0.2)
    if until is not None or process.returncode:
        raise SystemExit(f"{out}: ended with {process.returncode}; see {out}.log")
    return time.monotonic() - began


def metrics(out: Path, stage: str) -> list[dict[str, float]]:
    file = out / "stages" / stage / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def untimed(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


def after_step(out: Path, stage: str, step: int, seconds: float) -> Callable[[], bool]:
    """Some seconds into the next step."""
    reached: list[float] = []

    def is_reached() -> bool:
        if not reached and len(metrics(out, stage)) >= step:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() - reached[0] > seconds

    return is_reached


def digests(out: Path) -> dict[str, str]:
    files = sorted((out / "stages").glob("*/model/*.safetensors"))
    return {str(file.relative_to(out)): sha256(file.read_bytes()).hexdigest() for file in files}


def first_question(gsm8k: Path) -> tuple[str, Any]:
    row = json.loads((gsm8k / "test.jsonl").read_text().splitlines()[0])
    problem = read_gsm8k("0", row, None)  # type: ignore[arg-type]  # it has no pictures
    return row["question"], problem_prompt(problem, INSTRUCTION)


@torch.no_grad()
def by_transformers(checkpoint: Path, prompt: Any) -> str:
    # In bfloat16 the two best tokens can be equal to the last bit, and libraries round differently.
    loaded = load(checkpoint, torch.device("cpu"), torch.float32)
    ids_1T = torch.tensor([encode_prompt(prompt, loaded.tokenizer, None).ids])
    generated_1T = loaded.model.generate(ids_1T, max_new_tokens=48, do_sample=False)
    return str(loaded.tokenizer.decode(generated_1T[0, ids_1T.shape[1] :]))


BY_VLLM = """
import json, sys
from pathlib import Path
import torch
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.vllm_engine.engine import VllmEngine
system, question = json.loads(sys.argv[2])
prompt = Prompt("0", (Message("system", (system,)), Message("user", (question,))))
engine = VllmEngine(Path(sys.argv[1]), torch.float32, 4, longest=1024)
(rollout,) = engine.generate([prompt], Sampling(1, 0.0, 0, 48, forced_exit=False))
print(json.dumps(rollout.text))
"""


def by_vllm(python: str, checkpoint: Path, prompt: Any) -> str:
    texts = json.dumps([message.parts[0] for message in prompt.messages])
    command = [python, "-c", BY_VLLM, str(checkpoint), texts]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return str(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("gsm8k", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vllm", help="the Python of an environment with vLLM and this package")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    recipe, unbroken, broken = (options.out / name for name in ("recipe.yaml", "unbroken", "broken"))
    model, gsm8k = options.model.resolve(), options.gsm8k.resolve()
    recipe.write_text(RECIPE.format(model=model, gsm8k=gsm8k, instruction=INSTRUCTION))

    found: dict[str, Any] = {"unbroken_seconds": run(recipe, unbroken)}
    run(recipe, broken, until=after_step(broken, SFT, 3, seconds=4))
    run(recipe, broken, until=after_step(broken, GRPO, 1, seconds=8))
    run(recipe, broken)

    found["sft_loss"] = [line["loss"] for line in metrics(unbroken, SFT)]
    found["reward"] = [line["reward"] for line in metrics(unbroken, GRPO)]
    found["sha256"] = digests(unbroken)
    found["same_weights"] = digests(broken) == digests(unbroken)
    found["same_metrics"] = all(
        untimed(metrics(broken, stage)) == untimed(metrics(unbroken, stage)) for stage in (SFT, GRPO)
    )
    checkpoint, (question, prompt) = unbroken / "stages" / GRPO / "model", first_question(gsm8k)
    found["question"] = question
    found["transformers"] = by_transformers(checkpoint, prompt)
    if options.vllm:
        found["vllm"] = by_vllm(options.vllm, checkpoint, prompt)
    (options.out / "end_to_end.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    assert found["same_weights"] and found["same_metrics"]
    assert not options.vllm or found["vllm"] == found["transformers"]
    assert found["sft_loss"][-1] < found["sft_loss"][0] and max(found["reward"]) > 0


if __name__ == "__main__":
    main()
