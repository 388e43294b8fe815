"""How checkpoints are measured: likeness of tokens and words, pictures of a world, restatements."""

import io

import pytest
import torch
from PIL import Image

from xreasoner.miniworld.pictures.worlds import LEVELS
from xreasoner.miniworld.probes.measure import likeness, pictured, restatement
from xreasoner.miniworld.problems import make_items, phrase


def test_likeness_by_hand() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    seen = torch.tensor([[3.0, 4.0], [0.0, 1.0], [2.0, 0.0], [0.0, 6.0]])
    found = likeness(seen, torch.tensor([0, 1, 0, 1]), embeddings, embeddings)
    # cosines 3/5, 1, 1, 1; (3, 4) is nearer to (0, 2); lengths 5/1, 1/2, 2/1, 6/2
    assert found["cosine"] == pytest.approx(0.9)
    assert found["nearest to its word"] == 0.75
    assert found["length, of its word's"] == pytest.approx(2.625)
    # without the means (1.25, 2.75) and (0.5, 1): of each pair the words are (0.5, -1) and (-0.5, 1)
    ways = ((1.75, 1.25), (-1.25, -1.75), (0.75, -2.75), (-1.25, 3.25))
    cosines = [
        sign * (0.5 * x - y) / (1.25 * (x * x + y * y)) ** 0.5
        for sign, (x, y) in zip((1, -1, 1, -1), ways, strict=True)
    ]
    assert found["cosine without the means"] == pytest.approx(sum(cosines) / 4, abs=1e-5)


def test_a_problem_is_drawn_in_its_world_and_keeps_its_question() -> None:
    item = make_items("sums", (3, 3), 1, "test", 0)[0]
    plain = phrase(item, "image", 0, choice_share=0.0)
    problem = pictured(plain, item, LEVELS[-1], "test")
    assert (problem.id, problem.answer, problem.question[1:]) == (plain.id, plain.answer, plain.question[1:])
    size = Image.open(io.BytesIO(problem.pictures[0].encoded)).size
    assert size[0] % 28 == size[1] % 28 == 0
    assert problem.question[0] != pictured(plain, item, LEVELS[-1], "train").question[0]


def test_what_a_thought_restates_is_before_its_work() -> None:
    assert restatement("<think> 39 -8 -4 so 39 -8 = 31 ; </think><answer>27</answer>") == "39 -8 -4"
    assert restatement("<answer>27</answer>") == ""
