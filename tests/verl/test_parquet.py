"""The parquet files through verl's own data set, and the prompt tokens through its own builder."""

import itertools
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from xreasoner.chat.template import encode_plainly, problem_prompt
from xreasoner.data.sources import split_held_out, training_problems
from xreasoner.recipe.schema import Recipe
from xreasoner.records import Problem
from xreasoner.verl.parquet import problem_of


def expected(recipe: Recipe) -> tuple[list[Problem], list[Problem]]:
    return split_held_out(training_problems(recipe.stages["rl"].data, recipe.seed), 6, recipe.seed)


def opened(config: Any, files: str) -> RLHFDataset:
    tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
    return RLHFDataset(files, tokenizer, config.data)


def test_all_problems_arrive(config: Any, recipe: Recipe) -> None:
    training, held_out = expected(recipe)
    for files, problems in ((config.data.train_files, training), (config.data.val_files, held_out)):
        rows = opened(config, files)
        assert len(rows) == len(problems)
        found = [problem_of(rows[i]["extra_info"]) for i in range(len(rows))]
        assert [(p.id, p.question, p.answer, p.kind, p.choices) for p in found] == [
            (p.id, p.question, p.answer, p.kind, p.choices) for p in problems
        ]
        assert all(p.reasoning == "" for p in found), "the teacher's thought is no business of the cluster"


def test_the_prompt_tokens_are_ours(config: Any, recipe: Recipe, exported: Path) -> None:
    training, _ = expected(recipe)
    rows = opened(config, config.data.train_files)
    tokenizer = AutoTokenizer.from_pretrained(exported / "model")
    builder = create_continuous_token_builder(tokenizer, hf_model_type="qwen2")
    for i in range(0, len(rows), 7):
        ours, _ = encode_plainly(problem_prompt(training[i], recipe.instruction), tokenizer)
        assert list(builder.build_initial_tokens(rows[i]["raw_prompt"])) == ours
    everything = itertools.chain(*expected(recipe))
    longest = max(
        len(encode_plainly(problem_prompt(p, recipe.instruction), tokenizer)[0]) for p in everything
    )
    # The template of these tests was opened after the export: "<think>" and a line break are two tokens more.
    assert longest == config.data.max_prompt_length + 2


def test_rows_make_a_batch(config: Any) -> None:
    rows = opened(config, config.data.train_files)
    batch = collate_fn([rows[i] for i in range(4)])
    assert [info["index"] for info in batch["extra_info"]] == [0, 1, 2, 3]
