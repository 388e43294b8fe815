"""The loss of a batch of lessons is the model's own, with pictures and with features from a bank."""

import random

import pytest
import torch

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.miniworld.base.bank import fill_bank
from xreasoner.miniworld.base.encode import (
    IGNORED,
    LessonEncoder,
    lesson_loss,
    pull_of,
    tower_features,
    visual_tokens,
)
from xreasoner.miniworld.base.lessons import CELLS, THINK_INSTRUCTION, Lesson
from xreasoner.miniworld.model import Size, build_image_processor, new_model
from xreasoner.miniworld.pictures.worlds import LEVELS
from xreasoner.miniworld.probes.measure import pictured
from xreasoner.miniworld.problems import make_items, phrase
from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.miniworld.tokenizer import build_tokenizer


def test_a_lesson_has_the_ids_of_the_chat_template() -> None:
    item = make_items("bars", (2, 2), 1, "test", 0)[0]
    tokenizer = build_tokenizer()
    problem = pictured(phrase(item, "image", 0, choice_share=0.0), item, LEVELS[0], "train")
    encoded = encode_prompt(problem_prompt(problem, THINK_INSTRUCTION), tokenizer, build_image_processor())
    lesson = Lesson(THINK_INSTRUCTION, (item.scene, item.question), "")
    row = LessonEncoder(tokenizer, LEVELS[0]).row(lesson, random.Random(0))
    assert row.ids[:-1] == list(encoded.ids)


@pytest.mark.parametrize("level", [0, len(LEVELS) - 1])
def test_the_loss_of_a_batch_is_the_models_own(level: int) -> None:
    model = new_model(Size(), 0).eval()
    encoder = LessonEncoder(build_tokenizer(), LEVELS[level])
    item = make_items("labs", (3, 3), 1, "train", 0)[0]
    lesson = Lesson("", (item.scene, item.question), f"<answer> {item.answer} </answer>")
    batch = encoder.batch([lesson], random.Random(0))
    labels = torch.full_like(batch.ids_BT, IGNORED)
    labels[:, 1:] = batch.targets_BT[:, :-1]
    with torch.no_grad():
        own = model(
            input_ids=batch.ids_BT,
            pixel_values=batch.pixels_PV,
            image_grid_thw=batch.grids_I3,
            mm_token_type_ids=(batch.ids_BT == model.config.image_token_id).int(),
            labels=labels,
        ).loss
        assert lesson_loss(model, batch, 0.0).item() == pytest.approx(own.item(), abs=1e-5)


def test_padding_does_not_change_a_loss() -> None:
    model, encoder = new_model(Size(), 0).eval(), LessonEncoder(build_tokenizer(), LEVELS[-1])
    scenes = (Scene((Cell(("7",)),)), Scene(tuple(Cell((str(n),)) for n in range(9))))
    lessons = [Lesson("", (scene, "read"), " ".join(scene.words())) for scene in scenes]
    with torch.no_grad():
        apart = sum(
            lesson_loss(model, one, 0.0).item() for one in encoder.batches(lessons, random.Random(0), 2)
        )
        (both,) = encoder.batches(lessons, random.Random(0), 1)
        assert lesson_loss(model, both, 0.0).item() == pytest.approx(apart, abs=1e-4)


def test_the_pull_is_the_distance_to_the_word_of_each_token() -> None:
    words = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    seen = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
    # squares 0, 1, 0, 0; the variance of 0, 0, 2, 2 with n - 1 is 4/3
    assert pull_of(seen, torch.tensor([1, 0]), words).item() == pytest.approx(0.25 / (4 / 3))


def test_each_visual_token_on_the_grid_means_its_word_and_off_it_none() -> None:
    scene = Scene((Cell(("red", "star"), "shape"), Cell(("a", "3"), "bar")))
    tokenizer, lesson = build_tokenizer(), Lesson("", (scene, "read"), "x")
    (tied,) = LessonEncoder(tokenizer, LEVELS[0]).batches([lesson], random.Random(0), 1)
    assert tokenizer.convert_ids_to_tokens(tied.meant_S.tolist()) == ["redstar", "a3"]
    (free,) = LessonEncoder(tokenizer, LEVELS[-1]).batches([lesson], random.Random(0), 1)
    assert set(free.meant_S.tolist()) == {IGNORED}
    assert len(free.meant_S) == (free.ids_BT == new_model(Size(), 0).config.image_token_id).sum()


def test_a_token_depends_on_its_neighbours() -> None:
    """The tower sees the whole picture, as that of a real model does."""
    model = new_model(Size(), 0).eval()
    encoder = LessonEncoder(build_tokenizer(), LEVELS[0])
    first = Cell(("7",))
    with torch.no_grad():
        seen = [
            visual_tokens(
                model, encoder.batches([Lesson("", (Scene((first, other)),), "x")], random.Random(0), 1)[0]
            )[0]
            for other in (Cell(("1",)), Cell(("red", "star"), "shape"))
        ]
    assert not torch.allclose(*seen, atol=1e-6)


def test_a_bank_gives_what_the_tower_says_about_each_symbol() -> None:
    model, encoder = new_model(Size(), 0).eval(), LessonEncoder(build_tokenizer(), LEVELS[3])
    bank = fill_bank(model, encoder, random.Random(0), views=1)
    assert bank.features_CKSF.shape == (len(CELLS), 1, 1, 4 * Size().vision_hidden)
    rng = random.Random(0)
    order = rng.sample(CELLS, len(CELLS))
    scenes = [Scene(tuple(order[i : i + 8])) for i in range(0, len(order), 8)]
    with torch.no_grad():
        drawn = tower_features(model, encoder.batch([Lesson("", (one,), "x") for one in scenes], rng))
    picked = bank.pick(Scene(tuple(order)), rng)
    torch.testing.assert_close(picked, drawn.half().float())
    assert torch.equal(bank.pick(Scene((order[3],)), rng)[0], picked[3])


@pytest.mark.parametrize("level", [3, 4])
def test_a_batch_from_a_bank_has_the_ids_and_the_loss_of_its_pictures(level: int) -> None:
    model, tokenizer = new_model(Size(), 0).eval(), build_tokenizer()
    drawing = LessonEncoder(tokenizer, LEVELS[level])
    bank = fill_bank(model, drawing, random.Random(0), views=2)
    item = make_items("bars", (2, 2), 1, "train", 0)[0]
    lesson = Lesson("", (item.scene, item.question), f"<answer> {item.answer} </answer>")
    drawn = drawing.batch([lesson], random.Random(0))
    banked = LessonEncoder(tokenizer, LEVELS[level], bank).batch([lesson], random.Random(0))
    for name in ("ids_BT", "grids_I3", "meant_S", "targets_BT", "weights_BT"):
        assert torch.equal(getattr(drawn, name), getattr(banked, name)), name
    assert banked.pixels_PV is None and banked.features_SF is not None
    with torch.no_grad():
        # The same features through the projector give the same loss as the pixels they came from.
        kept = type(drawn)(**(vars(drawn) | {"pixels_PV": None, "features_SF": tower_features(model, drawn)}))
        assert lesson_loss(model, kept, 0.0).item() == pytest.approx(
            lesson_loss(model, drawn, 0.0).item(), abs=1e-5
        )
        seen = visual_tokens(model, banked)
        model.model.visual.merger.mlp[2].weight.zero_()
        assert not torch.equal(visual_tokens(model, banked), seen)  # the projector is not in the bank
