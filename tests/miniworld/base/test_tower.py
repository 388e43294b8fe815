"""The tower learns symbols and their parts, each with a unit of the projector."""

import math
from dataclasses import replace

import pytest
import torch

from xreasoner.miniworld.base.encode import LessonEncoder
from xreasoner.miniworld.base.settings import BaseSettings
from xreasoner.miniworld.base.tower import learn_symbols, name_tables, names_of, symbol_loss
from xreasoner.miniworld.model import Size, new_model
from xreasoner.miniworld.pictures.worlds import LEVELS
from xreasoner.miniworld.scene import Cell, alphabet
from xreasoner.miniworld.tokenizer import build_tokenizer


def test_a_symbol_is_told_by_two_parts() -> None:
    named = [
        Cell(("37",)),
        Cell(("5",)),
        Cell(("+8",)),
        Cell(("a", "5"), "bar"),
        Cell(("red", "star"), "shape"),
    ]
    assert [names_of(cell) for cell in named] == [
        ("37", "3", "glyph 7"),
        ("5", "", "glyph 5"),
        ("+8", "+", "glyph 8"),
        ("a5", "a", "bar 5"),
        ("redstar", "red", "shape star"),
    ]
    cells = alphabet()
    assert len({names_of(cell)[1:] for cell in cells}) == len(cells)
    encoder = LessonEncoder(build_tokenizer(), LEVELS[2])
    whole, first, last = name_tables(encoder)
    a5, a6, b5 = (encoder.ids(word)[0] for word in ("a5", "a6", "b5"))
    assert first[a5] == first[a6] != first[b5] and last[a5] == last[b5] != last[a6]
    assert sorted(one for one in whole.tolist() if one >= 0) == list(range(len(cells)))


def test_the_loss_by_hand() -> None:
    """Two symbols of two parts each: units 0 and 1 are symbols, 2 and 3 first parts, 4 and 5 last ones."""
    hidden = torch.zeros(1, 8)
    hidden[0, 1] = math.log(3)  # on with probability 3/4, and it is shown
    named = [torch.tensor([1]), torch.tensor([0]), torch.tensor([1])]
    said = [torch.tensor([[0.0, math.log(3)]]), torch.zeros(1, 2), torch.zeros(1, 2)]
    units = math.log(4 / 3) + 5 * math.log(2)
    told = math.log(4 / 3) + 2 * math.log(2)
    assert symbol_loss(hidden, named, [2, 2, 2], said).item() == pytest.approx(units + told, abs=1e-5)


def test_the_tower_and_its_projector_are_trained_and_units_start_off() -> None:
    start = new_model(Size(), 0).model.visual.state_dict()
    trained = learn_symbols(replace(BaseSettings(), tower_steps=1, rows=2), lambda line: None)
    assert all(not torch.equal(start[name], value) for name, value in trained.items())
    bias = trained["merger.mlp.0.bias"]
    units = 226 + 26 + 33
    assert bias[:units].max() < -3.9 and bias[units:].abs().max() < 0.1
