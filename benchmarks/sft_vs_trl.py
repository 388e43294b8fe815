"""SFT, tokens per second: ours against TRL's SFTTrainer on the same model, sequences and precision.

    pip install -e '.[bench]'
    python benchmarks/sft_vs_trl.py [--rounds 5] [--sequences 400] [--threads 1] [--clock wall]

One epoch over the same sequences each time, about 8192 tokens per optimizer step, only targets in the loss.
Padding does not count as tokens. TRL gets float32, no gradient checkpointing, the fused AdamW, and each of
its ways to handle unequal lengths: padding, padding with sequences grouped by length, and packing.
"""

import argparse
import json
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, TrainerCallback
from trl import SFTConfig, SFTTrainer

from side_by_side import CLOCKS, alternate, entry, measure_with, record, write_model, written_problems
from xreasoner.chat.template import Example, training_example
from xreasoner.recipe.schema import SftStage
from xreasoner.records import Problem
from xreasoner.train import sft
from xreasoner.train.step_display import NoDisplay

TOKENS_PER_STEP = 8192
WORKLOADS: dict[str, Callable[[random.Random], int]] = {
    "uniform lengths": lambda rng: rng.randint(30, 110),
    # Chains distilled from reasoners: most are short, some are ten times longer.
    "long-tailed lengths": lambda rng: min(900, max(20, round(rng.lognormvariate(4.3, 0.8)))),
}
PADDED: dict[str, Any] = {"per_device_train_batch_size": 16}
GROUPED: dict[str, Any] = {"per_device_train_batch_size": 16, "train_sampling_strategy": "group_by_length"}
PACKED: dict[str, Any] = {"per_device_train_batch_size": 1, "packing": True, "max_length": 1024}


class Stopwatch(TrainerCallback):
    """Seconds in optimizer steps, including the data loading between them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.seconds = 0.0
        self._began = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._began = self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds = self._now() - self._began


def measure_ours(problems: Sequence[Problem], tokens: int, start: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    settings = SftStage.model_validate(
        {
            "kind": "sft",
            "data": [{"source": "jsonl", "path": "in-memory"}],
            "epochs": 1,
            "lr": 1e-4,
            "tokens_per_step": TOKENS_PER_STEP,
            "tokens_per_microbatch": 2048,
            "checkpoint_every": 10_000,
            "dtype": "float32",
        }
    )
    sft.train_sft(settings, start, problems, out, seed=0, display=NoDisplay())
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["tokens"] for line in lines) == tokens
    return tokens / sum(json.loads(line)["seconds"] for line in lines)


def measure_trl(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    start: Path,
    out: Path,
    rows_per_step: Callable[[dict[str, Any]], int],
    variant: dict[str, Any],
    now: Callable[[], float],
) -> float:
    data = Dataset.from_list(
        [
            {
                "input_ids": list(e.ids),
                "labels": [t if is_target else -100 for t, is_target in zip(e.ids, e.is_target, strict=True)],
            }
            for e in examples
        ]
    )
    config = SFTConfig(
        output_dir=str(out),
        **{"max_length": None, **variant},
        gradient_accumulation_steps=max(1, rows_per_step(variant) // variant["per_device_train_batch_size"]),
        num_train_epochs=1,
        learning_rate=1e-4,
        bf16=False,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    watch = Stopwatch(now)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[watch]
    )
    trainer.train()
    return sum(len(e.ids) for e in examples) / watch.seconds


def compare(
    workload: str, options: argparse.Namespace, now: Callable[[], float], folder: Path
) -> list[dict[str, object]]:
    tokenizer = write_model(folder / "start")
    problems = written_problems(options.sequences, WORKLOADS[workload])
    examples = [training_example(problem, None, tokenizer) for problem in problems]
    tokens = sum(len(e.ids) for e in examples)
    print(
        f"{workload}: {len(examples)} sequences, {tokens} tokens, longest {max(len(e.ids) for e in examples)}"
    )

    def rows_per_step(variant: dict[str, Any]) -> int:
        return (
            TOKENS_PER_STEP // variant["max_length"]
            if "packing" in variant
            else (TOKENS_PER_STEP * len(examples) // tokens)
        )

    def trl(variant: dict[str, Any]) -> Callable[[], float]:
        return lambda: measure_trl(
            examples, tokenizer, folder / "start", folder / "trl", rows_per_step, variant, now
        )

    unit = "tokens/s" if options.clock == "wall" else "tokens/CPU second"
    peers = {"TRL padded": trl(PADDED), "TRL grouped": trl(GROUPED), "TRL packed": trl(PACKED)}
    own, others = alternate(
        lambda: measure_ours(problems, tokens, folder / "start", folder / "ours"), peers, options.rounds, unit
    )
    return [
        entry(
            f"SFT, {workload}, against {name}",
            own,
            other,
            f"trl {version('trl')}",
            unit,
            "2x",
            higher_is_better=True,
        )
        for name, other in others.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for workload in WORKLOADS:
            record(compare(workload, options, measure_with(options.clock, sft), Path(folder)))


if __name__ == "__main__":
    main()
