"""GRPO, seconds per step: ours against TRL's GRPOTrainer on the same model, prompts, samples and precision.

    pip install -e '.[bench]'
    python benchmarks/grpo_vs_trl.py [--rounds 5] [--cap 1024] [--prompts 16] [--samples 8] [--clock wall]

A random model ends its answer with the same small probability at every token, about one in 177: lengths
have a long tail, cut at `--cap`, and follow the same distribution for both (both means are printed). The
reward is a hash of the text, correct for 13%, so that in about a third of the groups of eight all rewards
are equal. The learning rate is too small to change any of this. TRL gets float32, no gradient
checkpointing, and the best of the given micro-batch sizes; ours is measured with and without skipping those
groups.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import warnings
import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer

from side_by_side import CLOCKS, alternate, entry, measure_with, record, write_model, written_problems
from trl_peer import grpo_config, prompt_texts
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Score
from xreasoner.train import grpo
from xreasoner.train.step_display import NoDisplay

LEARNING_RATE = 1e-9


def is_right(text: str) -> bool:
    return zlib.crc32("".join(text.split()).encode()) % 100 < 13


class CoinGrader:
    """In place of the grader, so that both sides are timed on generating and learning only."""

    def __enter__(self) -> "CoinGrader":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Score]:
        return [Score(is_right(text), text[:8], "a coin") for _, text in pairs]


class StepClock(TrainerCallback):
    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.began = 0.0
        self.seconds: list[float] = []
        self.lengths: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = self.now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(self.now() - self.began)

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        if logs and "completions/mean_length" in logs:
            self.lengths.append(float(logs["completions/mean_length"]))


class Bench:
    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.tokenizer: PreTrainedTokenizerBase = write_model(folder / "start")
        self.problems = written_problems(options.prompts * 4, lambda rng: 1)
        self.turn = 0
        self.now = measure_with(options.clock, grpo)
        self.lengths: dict[str, list[float]] = {}

    def ours(self, skip: bool) -> float:
        self.turn += 1
        settings = GrpoStage.model_validate(
            {
                "kind": "grpo",
                "data": [{"source": "jsonl", "path": "in-memory"}],
                "steps": self.options.steps,
                "lr": LEARNING_RATE,
                "prompts_per_step": self.options.prompts,
                "samples_per_prompt": self.options.samples,
                "think_budget": self.options.cap - 16,
                "answer_budget": 16,
                "forced_exit": False,
                "skip_zero_spread": skip,
                "tokens_per_microbatch": 2048,
                "samples_every": 10_000,
                "checkpoint_every": 10_000,
                "dtype": "float32",
            }
        )
        out = self.folder / "ours"
        shutil.rmtree(out, ignore_errors=True)
        grpo.train_grpo(settings, self.folder / "start", self.problems, [], out, self.turn, NoDisplay())
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        self.lengths.setdefault("ours", []).extend(line["answer_length"] for line in lines)
        if not skip:
            parts = [f"{line['rollout_seconds']:.2f} + {line['update_seconds']:.2f}" for line in lines]
            print(f"  ours, generating + learning: {', '.join(parts)} s", flush=True)
        return statistics.median(line["rollout_seconds"] + line["update_seconds"] for line in lines)

    def trl(self, rows: int) -> float:
        self.turn += 1
        texts = prompt_texts(self.problems, None, self.tokenizer)
        clock = StepClock(self.now)
        config = grpo_config(
            self.folder / "trl",
            self.options.prompts * self.options.samples,
            rows,
            num_generations=self.options.samples,
            max_completion_length=self.options.cap,
            max_steps=self.options.steps,
            learning_rate=LEARNING_RATE,
            seed=self.turn,
        )
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(self.folder / "start", dtype=torch.float32),
            args=config,
            reward_funcs=lambda completions, **_: [float(is_right(text)) for text in completions],
            train_dataset=Dataset.from_list([{"prompt": text} for text in texts]),
            processing_class=self.tokenizer,
            callbacks=[clock],
        )
        trainer.train()
        self.lengths.setdefault("TRL", []).extend(clock.lengths)
        return statistics.median(clock.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--cap", type=int, default=1024)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--trl-rows", type=int, nargs="+", default=[16])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    grpo.Grader = CoinGrader  # type: ignore[assignment,misc]
    unit = "s/step" if options.clock == "wall" else "CPU s/step"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        others: dict[str, Callable[[], float]] = {"ours, skipping": lambda: bench.ours(skip=True)}
        for rows in options.trl_rows:
            others[f"TRL, {rows} rows"] = lambda rows=rows: bench.trl(rows)  # type: ignore[misc]
        computing, measured = alternate(lambda: bench.ours(skip=False), others, options.rounds, unit)
    for name, lengths in bench.lengths.items():
        print(f"mean answer length, {name}: {statistics.fmean(lengths):.1f} tokens")
    skipping = measured.pop("ours, skipping")
    best = min(measured.values(), key=statistics.median)
    peer = f"trl {version('trl')}"
    name = f"GRPO step, answers of at most {options.cap} tokens"
    computed = entry(name, computing, best, peer, unit, "3x", higher_is_better=False)
    skipped = entry(
        f"{name}, zero-advantage groups skipped", skipping, best, peer, unit, "", higher_is_better=False
    )
    record([computed, skipped])


if __name__ == "__main__":
    main()
