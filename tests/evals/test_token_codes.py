"""Log-probabilities of an evaluation's tokens: two characters each on disk, colours in the reader."""

import math
from pathlib import Path

import pytest
import torch
from tests.evals.scripted import problem

from xreasoner.evals.display import silent
from xreasoner.evals.runner import evaluate
from xreasoner.evals.samples import read_answers
from xreasoner.evals.task import Benchmark
from xreasoner.evals.token_codes import token_codes, tokens_of
from xreasoner.models.load import load
from xreasoner.pipeline.evaluate import tasks_of
from xreasoner.recipe.schema import Evaluation
from xreasoner.records import Rollout
from xreasoner.report.reader.answer_files import AnswerSource
from xreasoner.report.reader.answer_rows import evaluation_rows
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.token_pieces import TokenPieces
from xreasoner.rollout.torch_engine.engine import TorchEngine


def rollout(logprobs: list[float], by_policy: list[int], text: str) -> Rollout:
    ids = tuple(range(len(logprobs)))
    return Rollout("p", 0, (), ids, tuple(by_policy), tuple(logprobs), text, "eos", True, 0)


def test_two_letters_a_token_by_hand() -> None:
    """The letter of a logarithm l is number 30 ln(1 - l), rounded, from ! on without quotes and backslash."""
    pieces = TokenPieces(lambda ids: ["ab", "c", "def", "g"][ids[0]])
    codes = token_codes(rollout([0.0, -1.0, 0.0, -40.0], [1, 1, 0, 1], "abcdefg"), pieces)
    # 2 and 0 -> # (after ! and no ") and !; 1 and 21 -> # and 7; 3, injected; 1 and the last letter.
    assert codes == "$!#7%~#}"
    assert tokens_of(codes) == {"chars": [2, 1, 3, 1], "logprobs": [0.0, -1.014, None, -19.086]}


@pytest.mark.parametrize("probability", [0.999, 0.9, 0.5, 0.1, 0.01, 1e-4])
def test_probabilities_keep_their_size(probability: float) -> None:
    codes = token_codes(rollout([math.log(probability)], [1], "a"), TokenPieces(lambda ids: "a"))
    assert tokens_of(codes)["logprobs"][0] == pytest.approx(math.log(probability), rel=0.04, abs=0.02)


def test_a_very_long_token_or_another_text_has_none() -> None:
    assert token_codes(rollout([-0.1], [1], "a" * 100), TokenPieces(lambda ids: "a" * 100)) == ""
    assert token_codes(rollout([-0.1], [1], "b"), TokenPieces(lambda ids: "a")) == ""


def test_an_evaluation_stores_them_and_the_reader_gets_them(tiny_base: Path, tmp_path: Path) -> None:
    loaded = load(tiny_base, dtype=torch.float32)
    engine: Engine = TorchEngine(loaded)
    benchmark = Benchmark("sums", "text", "general", (problem(1), problem(2)))
    evaluation = Evaluation(think_budget=6, answer_budget=4, budgets=(3,))
    folder = tmp_path / "evals" / "base"
    (task,) = tasks_of([benchmark], evaluation, folder, TokenPieces(loaded.tokenizer.decode))
    with Grader() as grader:
        evaluate(task, engine, grader, silent)
    source = AnswerSource(task.samples_path, tmp_path, "base", "sums", "evaluation")
    rows = {row.item.id: row for row in evaluation_rows(source)}
    assert rows.keys() == {one.id for one in benchmark.problems}
    for sample in read_answers(task.samples_path).samples:
        row = rows[sample.problem_id]
        tokens = row.details["tokens"]
        assert sum(tokens["chars"]) == len(sample.text)
        assert len(tokens["logprobs"]) == len(sample.tokens)
        assert (None in tokens["logprobs"]) == sample.forced
        assert min(one for one in tokens["logprobs"] if one is not None) < -0.1
    assert task.with_budget(3).pieces is None
    (plain,) = tasks_of([benchmark], evaluation, folder)
    assert plain.pieces is None
