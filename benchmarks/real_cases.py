"""The cases of real_speed.py: one step of SFT or GRPO, or the rollouts of two prompts, by each side."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from apart import peak_mib
from xreasoner.chat.template import encode_prompt, problem_prompt, training_example
from xreasoner.data.corpora.questions import read_gsm8k
from xreasoner.evals.eval_options import INSTRUCTION
from xreasoner.models.load import load, load_tokenizer
from xreasoner.recipe.schema import GrpoStage, Lora, SftStage
from xreasoner.recipe.training_data import Gsm8kData
from xreasoner.records import Problem, Sampling, Score
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import grpo, sft
from xreasoner.train.step_display import NoDisplay

RANK, ALPHA = 16, 32
SAMPLES = 8
LEARNING_RATE = 1e-6
Found = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """`tokens`: of the SFT step. `cap`: the longest answer of GRPO; `long_cap` of rollouts."""

    model: Path
    gsm8k: Path
    folder: Path
    dtype: str
    tokens: int
    cap: int
    long_cap: int

    def problems(self) -> list[Problem]:
        lines = (self.gsm8k / "train.jsonl").read_text().splitlines()[:200]
        entry = Gsm8kData(source="gsm8k")
        return [read_gsm8k(json.loads(line), "", str(i), entry).problem for i, line in enumerate(lines)]

    def examples(self) -> list[Problem]:
        """As many as fill one row."""
        tokenizer, chosen, filled = load_tokenizer(self.model), [], 0
        for problem in self.problems():
            length = len(training_example(problem, INSTRUCTION, tokenizer).ids)
            if filled + length <= self.tokens:
                chosen.append(problem)
                filled += length
        return chosen

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32


class Peak(NoDisplay):
    """Memory until the end of the last step, before anything is saved."""

    mib = 0.0

    def step(self, done: int, shown: Any) -> None:
        self.mib = peak_mib()


def use_processor_time(stage: Any) -> None:
    """For the seconds that a stage writes into its metrics."""
    stage.time = argparse.Namespace(monotonic=time.process_time)


def last_metrics(out: Path) -> Found:
    found: Found = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return found


# --- SFT ------------------------------------------------------------------------------------------------


def ours_sft(setup: Setup, lora: bool) -> Found:
    use_processor_time(sft)
    problems, peak = setup.examples(), Peak()
    settings = SftStage.model_validate(
        {
            "kind": "sft",
            "data": [{"source": "jsonl", "path": "in-memory"}],
            "epochs": 1,
            "lr": LEARNING_RATE,
            "tokens_per_step": setup.tokens,
            "tokens_per_microbatch": setup.tokens,
            "max_length": setup.tokens,
            "lora": {"rank": RANK, "alpha": ALPHA} if lora else None,
            "dtype": setup.dtype,
        }
    )
    sft.train_sft(settings, setup.model, problems, setup.folder / "ours", 0, peak, INSTRUCTION)
    found = last_metrics(setup.folder / "ours")
    keys = ("loss", "grad_norm", "tokens", "seconds")
    return {key: found[key] for key in keys} | {"mib": peak.mib}


def trl_sft(setup: Setup, lora: bool) -> Found:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from trl_peer import StepWatch

    tokenizer = load_tokenizer(setup.model)
    examples = [training_example(problem, INSTRUCTION, tokenizer) for problem in setup.examples()]
    rows = [
        {
            "input_ids": list(e.ids),
            "labels": [t if learns else -100 for t, learns in zip(e.ids, e.is_target, strict=True)],
        }
        for e in examples
    ]
    watch = StepWatch(time.process_time, peak_mib)
    in_bfloat16 = setup.dtype == "bfloat16"
    config = SFTConfig(
        output_dir=str(setup.folder / "trl"),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        packing=True,
        max_length=setup.tokens,
        max_steps=1,
        learning_rate=LEARNING_RATE,
        bf16=in_bfloat16,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
    )
    adapters = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(Lora().targets))
    # With adapters, the frozen weights are in the precision of the products, as ours are.
    weights = torch.bfloat16 if lora and in_bfloat16 else torch.float32
    SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(setup.model, dtype=weights),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=adapters if lora else None,
        callbacks=[watch],
    ).train()
    return watch.found | {"tokens": sum(len(e.ids) for e in examples)}


# --- GRPO -----------------------------------------------------------------------------------------------


class TurnGrader:
    """In place of the grader: every second answer is correct."""

    def __enter__(self) -> "TurnGrader":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Score]:
        return [Score(bool(i % 2), text[:8], "in turn") for i, (_, text) in enumerate(pairs)]


def ours_grpo(setup: Setup) -> Found:
    use_processor_time(grpo)
    grpo.Grader = TurnGrader  # type: ignore[assignment,misc]
    update, peak = grpo.update, Peak()

    def noted(policy: Any, reference: Any, take_step: Any, batch: Any, *rest: Any, **named: Any) -> Any:
        rollouts = [answer.rollout for group in batch.groups for answer in group.answers]
        answers = [(list(r.prompt_ids), list(r.token_ids), list(r.logprobs)) for r in rollouts]
        answers_file(setup).write_text(json.dumps(answers))
        return update(policy, reference, take_step, batch, *rest, **named)

    grpo.update = noted
    settings = GrpoStage.model_validate(
        {
            "kind": "grpo",
            "data": [{"source": "jsonl", "path": "in-memory"}],
            "steps": 1,
            "lr": LEARNING_RATE,
            "prompts_per_step": 1,
            "samples_per_prompt": SAMPLES,
            "think_budget": setup.cap - 16,
            "answer_budget": 16,
            "forced_exit": False,
            "tokens_per_microbatch": 4096,
            "dtype": setup.dtype,
        }
    )
    problems, out = setup.problems()[:1], setup.folder / "ours"
    grpo.train_grpo(settings, setup.model, problems, [], out, 0, peak, INSTRUCTION)
    found = last_metrics(out)
    keys = ("grad_norm", "tokens", "rollout_seconds", "update_seconds", "mismatch")
    whole = found["rollout_seconds"] + found["update_seconds"]
    return {key: found[key] for key in keys} | {"seconds": whole, "mib": peak.mib}


def answers_file(setup: Setup) -> Path:
    return setup.folder.parent / "answers.json"


def trl_grpo(setup: Setup, update_alone: bool) -> Found:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOTrainer

    from trl_peer import StepWatch, grpo_config, prompt_texts

    tokenizer = load_tokenizer(setup.model)
    (text,) = prompt_texts(setup.problems()[:1], INSTRUCTION, tokenizer)
    watch = StepWatch(time.process_time, peak_mib)

    def same_answers(_prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        answers = json.loads(answers_file(setup).read_text())
        return dict(
            zip(("prompt_ids", "completion_ids", "logprobs"), zip(*answers, strict=True), strict=True)
        )

    config = grpo_config(
        setup.folder / "trl",
        SAMPLES,
        SAMPLES,
        num_generations=SAMPLES,
        max_completion_length=setup.cap,
        max_steps=1,
        learning_rate=LEARNING_RATE,
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(setup.model, dtype=setup.torch_dtype),
        args=config,
        reward_funcs=lambda completions, **_: [float(i % 2) for i in range(len(completions))],
        train_dataset=Dataset.from_list([{"prompt": text}]),
        processing_class=tokenizer,
        callbacks=[watch],
        rollout_func=same_answers if update_alone else None,
    )
    trainer.train()
    found = watch.found
    return found | {"tokens": round(SAMPLES * found["completions/mean_length"])}


# --- rollouts -------------------------------------------------------------------------------------------


def rollouts(setup: Setup, by_generate: bool) -> Found:
    loaded = load(setup.model, dtype=setup.torch_dtype)
    prompts = [problem_prompt(problem, INSTRUCTION) for problem in setup.problems()[:2]]
    engine = TorchEngine(loaded, SAMPLES * len(prompts))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, after loading
    began = time.process_time()
    if by_generate:
        encoded = [list(encode_prompt(prompt, loaded.tokenizer, None).ids) for prompt in prompts]
        lengths = generated_lengths(engine, encoded, setup.long_cap)
    else:
        sampling = Sampling(SAMPLES, 1.0, 0, setup.long_cap, forced_exit=False, seed=1)
        lengths = [len(rollout.token_ids) for rollout in engine.generate(prompts, sampling)]
    seconds = time.process_time() - began
    ended = sum(length < setup.long_cap for length in lengths) / len(lengths)
    return {"tokens": sum(lengths), "seconds": seconds, "mib": peak_mib(), "ended": ended}


@torch.inference_mode()
def generated_lengths(engine: TorchEngine, encoded: list[list[int]], cap: int) -> list[int]:
    """All answers in one batch."""
    tokenizer, vocabulary = engine.loaded.tokenizer, engine.special_tokens
    tokenizer.padding_side = "left"
    torch.manual_seed(1)
    padded = tokenizer.pad({"input_ids": encoded}, return_tensors="pt")
    ids_BT = engine.loaded.model.generate(
        **padded,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=SAMPLES,
        max_new_tokens=cap,
        suppress_tokens=sorted(vocabulary.banned),
        eos_token_id=sorted(vocabulary.stops),
        pad_token_id=tokenizer.pad_token_id,
    )[:, padded["input_ids"].shape[1] :]
    return [int((row != tokenizer.pad_token_id).sum()) for row in ids_BT]


CASES: dict[str, dict[str, Callable[[Setup], Found]]] = {
    "sft": {"ours": partial(ours_sft, lora=False), "trl": partial(trl_sft, lora=False)},
    "lora": {"ours": partial(ours_sft, lora=True), "trl": partial(trl_sft, lora=True)},
    "grpo": {
        "ours": ours_grpo,
        "trl": partial(trl_grpo, update_alone=False),
        "trl update": partial(trl_grpo, update_alone=True),
    },
    "rollouts": {
        "ours": partial(rollouts, by_generate=False),
        "generate": partial(rollouts, by_generate=True),
    },
}
