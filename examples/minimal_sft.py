"""Supervised fine-tuning in one file, made to be read and copied: a tiny model learns to think in writing.

    python examples/minimal_sft.py

The mini-world's base answers at once and gets most problems of several steps wrong. Here it imitates written
thoughts. Everything is plain PyTorch; the parts of X-Reasoner it uses are functions that need no recipe.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from xreasoner.chat.template import Example, problem_prompt, training_example
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import Loaded, load
from xreasoner.models.packed_attention import packed_attention
from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.surgery import detach
from xreasoner.records import Problem, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import PackedRow, pack

INSTRUCTION = "think then answer"
STEPS = 60
TOKENS_PER_ROW = 2048
PEAK_LR = 2e-3


def load_text_model() -> Loaded:
    """The base is a vision-language model. Training is text-only, so its language model is detached first."""
    with tempfile.TemporaryDirectory() as folder:
        detach(MINIWORLD, Path(folder, "text"))
        return load(Path(folder, "text"), dtype=torch.float32)


def rows_of(examples: Sequence[Example]) -> Iterator[PackedRow]:
    """Endless packed rows: examples side by side, as many as fit. Each attends only to itself."""
    row: list[Example] = []
    filled = 0
    for example in itertools.cycle(examples):
        if row and filled + len(example.ids) > TOKENS_PER_ROW:
            yield pack(row, torch.device("cpu"))
            row, filled = [], 0
        row.append(example)
        filled += len(example.ids)


def accuracy(model: Loaded, problems: Sequence[Problem]) -> float:
    """Greedy answers, graded. A thought longer than its budget is closed, and the model answers then."""
    prompts = [problem_prompt(problem, INSTRUCTION) for problem in problems]
    sampling = Sampling(temperature=0.0, think_budget=64, answer_budget=12)
    replies = {rollout.prompt_id: rollout.text for rollout in TorchEngine(model).generate(prompts, sampling)}
    with Grader() as grader:
        scores = grader.score_many([(problem, replies[problem.id]) for problem in problems])
        return sum(score.correct is True for score in scores) / len(problems)


def main() -> tuple[list[float], float, float]:
    """Train, and return the losses with the accuracy before and after."""
    torch.manual_seed(0)
    model = load_text_model()
    model_loss = LanguageModelLoss(model.model)  # a packed row in, the summed loss of its target tokens out
    optimizer = torch.optim.AdamW(model_loss.parameters(), lr=PEAK_LR, betas=(0.9, 0.95), weight_decay=0.0)

    problems = make_problems("sums", "text", (2, 4), 1500, "train", seed=0)
    held_out = make_problems("sums", "text", (2, 4), 100, "test", seed=0)
    rows = rows_of([training_example(problem, INSTRUCTION, model.tokenizer) for problem in problems])

    before = accuracy(model, held_out)
    losses: list[float] = []
    began = time.monotonic()
    model.model.train()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min((step + 1) / 5, 1.0) * (1 - step / STEPS)
        row = next(rows)
        with packed_attention(model.model):
            loss = model_loss(row).loss / row.targets
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(model_loss.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 10 == 0:
            seconds = time.monotonic() - began
            print(f"step {step + 1:3}  loss {losses[-1]:.3f}  grad norm {grad_norm:.2f}  {seconds:.0f} s")
    after = accuracy(model, held_out)
    print(f"accuracy on held-out problems: {before:.0%} -> {after:.0%}")
    return losses, before, after


if __name__ == "__main__":
    main()
