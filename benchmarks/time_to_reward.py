"""GRPO, seconds until the reward reaches a target: ours against TRL's GRPOTrainer, from the same checkpoint.

    pip install -e '.[bench]'
    xreasoner run recipes/quickstart.yaml rl=null med-sft=null med-rl=null
    python benchmarks/time_to_reward.py runs/quickstart/stages/1-sft/model [--target 0.9] [--rounds 3]

Both train on sums of 5 and 6 steps with the same number of samples per prompt, constant learning rate,
optimizer, precision and grader, and stop when the mean reward of the last five steps reaches the target. Each
round has its own seed for drawing problems and answers. The number of steps is printed: both need about the
same, so the difference is the time per step.
"""

import argparse
import shutil
import statistics
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback, TrainerControl
from trl import GRPOConfig, GRPOTrainer

from side_by_side import CLOCKS, alternate, entry, measure_with, record
from trl_peer import grpo_config, prompt_texts
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.problems import make_items, phrase
from xreasoner.models.load import load_tokenizer
from xreasoner.recipe.schema import GrpoStage
from xreasoner.rewards.grade import Grader
from xreasoner.train import grpo
from xreasoner.train.step_display import NoDisplay

FAMILY, STEPS = "sums", (5, 6)
"""A reward far enough above the quickstart's SFT model that batch noise does not reach it."""
WINDOW = 5
CAP = 128
MOST_STEPS = 60


def reached(rewards: list[float], target: float) -> bool:
    return len(rewards) >= WINDOW and statistics.fmean(rewards[-WINDOW:]) >= target


class Reached(Exception):  # noqa: N818 - not an error
    """Raised by the progress display, since our loop has no early stopping."""


class Watch(NoDisplay):
    def __init__(self, target: float, now: Callable[[], float]) -> None:
        self.target, self.now = target, now
        self.began, self.rewards = now(), list[float]()

    def step(self, done: int, values: dict[str, float]) -> None:
        self.rewards.append(values["reward"])
        if reached(self.rewards, self.target):
            raise Reached


class StopAtTarget(TrainerCallback):
    def __init__(self, target: float) -> None:
        self.target, self.rewards = target, list[float]()

    def on_log(
        self, _: Any, __: Any, control: TrainerControl, logs: dict[str, float] | None = None, **___: Any
    ) -> None:
        if logs and "reward" in logs:
            self.rewards.append(float(logs["reward"]))
            control.should_training_stop = reached(self.rewards, self.target)


class Race:
    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, self.turn = folder, options, 0
        self.now = measure_with(options.clock, grpo)
        items = make_items(FAMILY, STEPS, 1000, "train", seed=1)
        self.problems = [phrase(item, "text", seed=1, choice_share=0.0) for item in items]
        self.tokenizer = load_tokenizer(options.start)

    def ours(self) -> float:
        self.turn += 1
        settings = GrpoStage.model_validate(
            {
                "kind": "grpo",
                "data": [{"source": "jsonl", "path": "in-memory"}],
                "steps": MOST_STEPS,
                "lr": self.options.lr,
                "min_lr_ratio": 1.0,
                "warmup": 0.0,
                "prompts_per_step": self.options.prompts,
                "samples_per_prompt": self.options.samples,
                "think_budget": CAP - 12,
                "answer_budget": 12,
                "forced_exit": False,
                "tokens_per_microbatch": 2048,
                "samples_every": 10_000,
                "checkpoint_every": 10_000,
                "dtype": "float32",
            }
        )
        out = self.folder / "ours"
        shutil.rmtree(out, ignore_errors=True)
        watch = Watch(self.options.target, self.now)
        try:
            grpo.train_grpo(
                settings, self.options.start, self.problems, [], out, self.turn, watch, THINK_INSTRUCTION
            )
        except Reached:
            return self._report("ours", watch.rewards, self.now() - watch.began)
        raise ValueError(self._too_high("ours"))

    def trl(self) -> float:
        self.turn += 1
        stop = StopAtTarget(self.options.target)
        with Grader() as grader:

            def rewards(completions: list[str], number: list[int], **_: Any) -> list[float]:
                pairs = [(self.problems[n], text) for n, text in zip(number, completions, strict=True)]
                return [float(score.correct is True) for score in grader.score_many(pairs)]

            trainer = GRPOTrainer(
                model=AutoModelForCausalLM.from_pretrained(self.options.start, dtype=torch.float32),
                args=self._config(),
                reward_funcs=rewards,
                train_dataset=Dataset.from_list(self._rows()),
                processing_class=self.tokenizer,
                callbacks=[stop],
            )
            trainer.remove_callback(PrinterCallback)
            began = self.now()
            trainer.train()
        if not reached(stop.rewards, self.options.target):
            raise ValueError(self._too_high("TRL"))
        return self._report("TRL", stop.rewards, self.now() - began)

    def _rows(self) -> list[dict[str, object]]:
        texts = prompt_texts(self.problems, THINK_INSTRUCTION, self.tokenizer)
        return [{"prompt": text, "number": number} for number, text in enumerate(texts)]

    def _config(self) -> GRPOConfig:
        return grpo_config(
            self.folder / "trl",
            self.options.prompts * self.options.samples,
            self.options.trl_rows,
            num_generations=self.options.samples,
            max_completion_length=CAP,
            max_steps=MOST_STEPS,
            learning_rate=self.options.lr,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            seed=self.turn,
        )

    def _too_high(self, who: str) -> str:
        return f"{who}: no reward of {self.options.target} within {MOST_STEPS} steps: lower --target"

    def _report(self, who: str, rewards: list[float], seconds: float) -> float:
        begun = statistics.fmean(rewards[:WINDOW])
        print(f"  {who}: reward {begun:.2f} -> {self.options.target} in {len(rewards)} steps", flush=True)
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--trl-rows", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    unit = "s" if options.clock == "wall" else "CPU s"
    with tempfile.TemporaryDirectory() as folder:
        race = Race(Path(folder), options)
        own, others = alternate(race.ours, {"TRL": race.trl}, options.rounds, unit)
    peer = f"trl {version('trl')}"
    name = f"GRPO, time to a reward of {options.target} on sums, from the quickstart's SFT"
    record([entry(name, own, others["TRL"], peer, unit, "", higher_is_better=False)])


if __name__ == "__main__":
    main()
