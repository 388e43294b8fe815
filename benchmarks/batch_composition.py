"""Do a model's greedy answers depend on what else is in the batch? Sums are rounded in another order there.

Asks the same questions all together, in the reverse order with few rows, and one by one, in float32 and in
bfloat16. Prints how many answers equal those asked one by one, and at the first token that differs how far
apart the two most probable ones were.

Run: python benchmarks/batch_composition.py MODEL [--questions data.jsonl] [--count 16] [--tokens 48]
MODEL is a folder, or `miniworld`. A line of the questions has the key `question`; by default sums are asked.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from xreasoner.models.load import Loaded, load
from xreasoner.models.resolve import resolve_model
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine

Answers = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Comparison:
    batch: str
    equal: int
    of: int
    gaps: tuple[float, ...]
    """At the first token that differs: log-probability of the best token less that of the second."""


def sums(count: int) -> list[str]:
    rng = random.Random(0)
    return [f"work out {' + '.join(str(rng.randint(1, 9)) for _ in range(3 + i % 4))}" for i in range(count)]


def read_questions(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()[:count]
    return [str(json.loads(line)["question"]) for line in lines]


def ask(loaded: Loaded, prompts: Sequence[Prompt], rows: int, tokens: int) -> Answers:
    sampling = Sampling(think_budget=tokens, answer_budget=0, forced_exit=False)
    rollouts = TorchEngine(loaded, max_rows=rows).generate(prompts, sampling)
    return {rollout.prompt_id: rollout.token_ids for rollout in rollouts}


@torch.inference_mode()
def gap_after(loaded: Loaded, prompt_ids: Sequence[int], answer: Sequence[int]) -> float:
    """Between the two most probable tokens after a prompt and a part of its answer."""
    ids_1T = torch.tensor([[*prompt_ids, *answer]], device=loaded.model.device)
    best_2 = loaded.model(input_ids=ids_1T).logits[0, -1].float().log_softmax(-1).topk(2).values
    return float(best_2[0] - best_2[1])


def compare(loaded: Loaded, prompts: Sequence[Prompt], tokens: int) -> list[Comparison]:
    sampling = Sampling(think_budget=tokens, answer_budget=0, forced_exit=False)
    prompt_ids: dict[str, tuple[int, ...]] = {}
    alone: Answers = {}
    for prompt in prompts:
        (rollout,) = TorchEngine(loaded, max_rows=1).generate([prompt], sampling)
        alone[prompt.id], prompt_ids[prompt.id] = rollout.token_ids, rollout.prompt_ids
    batches = {
        "all together": ask(loaded, prompts, len(prompts), tokens),
        "reversed, 3 rows": ask(loaded, prompts[::-1], 3, tokens),
    }
    found = []
    for name, answers in batches.items():
        different = [key for key in alone if answers[key] != alone[key]]
        gaps = []
        for key in different:
            pairs = enumerate(zip(alone[key], answers[key], strict=False))
            first = next((i for i, (one, other) in pairs if one != other), 0)
            gaps.append(gap_after(loaded, prompt_ids[key], alone[key][:first]))
        found.append(Comparison(name, len(alone) - len(different), len(alone), tuple(gaps)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    questions = read_questions(options.questions, options.count) if options.questions else sums(options.count)
    prompts = [Prompt(f"q{i}", (Message("user", (text,)),)) for i, text in enumerate(questions)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load(resolve_model(options.model), device, dtype)
        for one in compare(loaded, prompts, options.tokens):
            gaps = ", ".join(f"{gap:.4f}" for gap in one.gaps)
            where = f"; gaps at the first other token: {gaps}" if gaps else ""
            print(f"{str(dtype)[6:]:9} {one.batch:17} {one.equal} of {one.of} equal{where}", flush=True)


if __name__ == "__main__":
    main()
