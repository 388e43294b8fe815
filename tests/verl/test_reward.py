"""Our grader through verl's own reward manager."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from transformers import AutoTokenizer
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager

from xreasoner.records import Problem
from xreasoner.verl.parquet import to_row

SUM = Problem("s", ("How much is 3 + 4?",), "7", "math")
HALF = Problem("h", ("One over two?",), r"\frac{1}{2}", "math")
CHOICE = Problem("c", ("Which is a fruit?",), "B", "choice", ("stone", "apple"))


def answered(problem: Problem, text: str, tokenizer: Any) -> DataProto:
    row = to_row(problem, 0, None)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    batch = TensorDict(
        {"responses": ids, "attention_mask": torch.ones(1, ids.shape[1] + 1, dtype=torch.int64)}, batch_size=1
    )
    columns = ("data_source", "reward_model", "extra_info")
    return DataProto(batch, {name: np.array([row[name]], dtype=object) for name in columns})


class Letters:
    """A tokenizer of characters: the mini-world's has no words for the questions above."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids: torch.Tensor, skip_special_tokens: bool) -> str:
        return "".join(chr(i) for i in ids.tolist())


@pytest.mark.parametrize(
    ("problem", "text", "score", "missing"),
    [
        (SUM, "<think>three and four</think><answer>7</answer>", 1.0, 0.0),
        (SUM, "<think>three and four</think><answer>8</answer>", 0.0, 0.0),
        (SUM, "<think>no end to this thought, is it 7 or", 0.0, 1.0),
        (HALF, "<think></think><answer>0.5</answer>", 1.0, 0.0),
        (CHOICE, "<think></think><answer>B: apple</answer>", 1.0, 0.0),
        (CHOICE, "<think>B?</think><answer>A: stone</answer>", 0.0, 0.0),
    ],
)
def test_scores(config: Any, problem: Problem, text: str, score: float, missing: float) -> None:
    tokenizer = Letters()

    async def run() -> dict[str, Any]:
        return dict(
            await load_reward_manager(config, tokenizer).run_single(answered(problem, text, tokenizer))
        )

    found = asyncio.run(run())
    assert found["reward_score"] == score
    assert found["reward_extra_info"] == {"score": score, "acc": score, "missing": missing, "unscored": 0.0}


def test_many_threads_at_once(config: Any) -> None:
    """verl grades every answer in a thread of its own; the grader's processes are shared."""
    tokenizer = Letters()
    texts = [rf"<think></think><answer>\frac{{{k}}}{{{2 * k + k % 2}}}</answer>" for k in range(1, 17)]

    async def run() -> list[dict[str, Any]]:
        manager = load_reward_manager(config, tokenizer)
        return await asyncio.gather(*(manager.run_single(answered(HALF, t, tokenizer)) for t in texts))

    # k over 2k is one half; where k is odd the denominator is one too many.
    assert [found["reward_score"] for found in asyncio.run(run())] == [
        float(k % 2 == 0) for k in range(1, 17)
    ]


def test_the_mini_worlds_tags_survive_decoding(config: Any) -> None:
    """verl decodes with `skip_special_tokens`: the tags must not be special, else every answer is missing."""
    tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
    ids = tokenizer("<think> </think> <answer> 7 </answer>", add_special_tokens=False)["input_ids"]
    assert "<answer>" in tokenizer.decode(ids, skip_special_tokens=True)
