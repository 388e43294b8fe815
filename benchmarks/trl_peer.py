"""TRL's GRPOTrainer as the benchmarks configure it: on the CPU, in float32, one update per batch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.records import Problem
from xreasoner.train.optim import add_moments


def grpo_config(folder: Path, answers: int, rows: int, **settings: Any) -> GRPOConfig:
    """`answers` per step, trained in batches of `rows`; our defaults where TRL's differ."""
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=answers // rows,
        temperature=1.0,
        beta=0.0,
        epsilon_high=0.28,
        loss_type="dapo",
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        optim="adamw_torch_fused",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **settings,
    )


def prompt_texts(
    problems: Sequence[Problem], instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """The tokens that our trainer puts before an answer, as text."""
    prompts = [problem_prompt(problem, instruction) for problem in problems]
    return [tokenizer.decode(encode_prompt(prompt, tokenizer, None).ids) for prompt in prompts]


class StepWatch(TrainerCallback):
    """The seconds and the peak of memory of one optimizer step, and what the trainer logs of it."""

    def __init__(self, now: Callable[[], float], peak_mib: Callable[[], float]) -> None:
        self._now, self._peak_mib, self._began = now, peak_mib, 0.0
        self.found: dict[str, float] = {}

    def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        # Memory is that of any step but the first, whose backward pass has no moments beside it. Ours
        # creates them before the first step.
        add_moments(optimizer)
        self._began = self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.found |= {"seconds": self._now() - self._began, "mib": self._peak_mib()}

    def on_log(self, *_: Any, logs: Mapping[str, float] | None = None, **__: Any) -> None:
        self.found |= {name: float(value) for name, value in (logs or {}).items()}
