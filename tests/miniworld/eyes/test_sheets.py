"""The loss of a sheet is the model's own, and each phase trains what it says."""

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.chat.think import write_answer
from xreasoner.miniworld.eyes.course import (
    SIZE,
    Course,
    build_world_base,
    learn_to_see,
    starting_model,
)
from xreasoner.miniworld.eyes.fitting import fit_to_words, least_squares, scale_to_words
from xreasoner.miniworld.eyes.measure import likeness, pictured, restatement
from xreasoner.miniworld.eyes.sheets import (
    IGNORED,
    Desk,
    Sheet,
    length_off,
    pull_of,
    see,
    sheet_loss,
    unchanged,
    with_features,
)
from xreasoner.miniworld.eyes.teaching import count_lesson, describing, reading
from xreasoner.miniworld.eyes.tower import learn_symbols, part_tables, parts_of
from xreasoner.miniworld.eyes.training import kept_sheets, look_once
from xreasoner.miniworld.eyes.worlds import LEVELS
from xreasoner.miniworld.lessons import CELLS, THINK_INSTRUCTION, Lesson
from xreasoner.miniworld.model import build_image_processor, new_model
from xreasoner.miniworld.problems import make_items, phrase
from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.miniworld.tokenizer import build_tokenizer

TINY = Course(text_steps=1, tower_steps=1, projector_steps=0, eyes_steps=0, rows=4)


def quiet(line: str) -> None:
    pass


def test_a_lesson_has_the_ids_of_the_chat_template() -> None:
    item = make_items("bars", (2, 2), 1, "test", 0)[0]
    tokenizer = build_tokenizer()
    problem = pictured(phrase(item, "image", 0, choice_share=0.0), item, LEVELS[0], "train")
    encoded = encode_prompt(problem_prompt(problem, THINK_INSTRUCTION), tokenizer, build_image_processor())
    lesson = Lesson(THINK_INSTRUCTION, (item.scene, item.question), "")
    row = Desk(tokenizer, LEVELS[0]).row(lesson, random.Random(0))
    assert row.ids[:-1] == list(encoded.ids)


@pytest.mark.parametrize("level", [0, len(LEVELS) - 1])
def test_the_loss_of_a_sheet_is_the_models_own(level: int) -> None:
    model = new_model(SIZE, 0).eval()
    desk = Desk(build_tokenizer(), LEVELS[level])
    item = make_items("labs", (3, 3), 1, "train", 0)[0]
    lesson = Lesson("", (item.scene, item.question), f"<answer> {item.answer} </answer>")
    (sheet,) = desk.sheets([lesson], random.Random(0), parts=1)
    labels = torch.full_like(sheet.ids_BT, IGNORED)
    labels[:, 1:] = sheet.targets_BT[:, :-1]
    with torch.no_grad():
        own = model(
            input_ids=sheet.ids_BT,
            pixel_values=sheet.pixels_PV,
            image_grid_thw=sheet.grids_I3,
            mm_token_type_ids=(sheet.ids_BT == model.config.image_token_id).int(),
            labels=labels,
        ).loss
        assert sheet_loss(model, sheet, 0.0).item() == pytest.approx(own.item(), abs=1e-5)


def test_padding_does_not_change_a_loss() -> None:
    model, desk = new_model(SIZE, 0).eval(), Desk(build_tokenizer(), LEVELS[-1])
    scenes = (Scene((Cell(("7",)),)), Scene(tuple(Cell((str(n),)) for n in range(9))))
    lessons = [Lesson("", (scene, "read"), " ".join(scene.words())) for scene in scenes]
    with torch.no_grad():
        apart = sum(sheet_loss(model, one, 0.0).item() for one in desk.sheets(lessons, random.Random(0), 2))
        (both,) = desk.sheets(lessons, random.Random(0), 1)
        assert sheet_loss(model, both, 0.0).item() == pytest.approx(apart, abs=1e-4)


def test_the_pull_is_the_distance_to_the_word_of_each_token() -> None:
    words = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    seen = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
    # squares 0, 1, 0, 0; the variance of 0, 0, 2, 2 with n - 1 is 4/3
    assert pull_of(seen, torch.tensor([1, 0]), words).item() == pytest.approx(0.25 / (4 / 3))


def test_the_length_is_held_at_that_of_words() -> None:
    words = torch.tensor([[3.0, 4.0], [0.0, 3.0]])  # lengths 5 and 3
    seen = torch.tensor([[0.0, 4.0], [8.0, 0.0], [0.0, 0.0]])  # 1, 2 and 0 of the mean
    assert length_off(seen, words).item() == pytest.approx((0 + 1 + 1) / 3)


def test_long_visual_tokens_pass_the_layers_unchanged() -> None:
    """Each layer adds to them what does not grow with their length."""
    model, desk = new_model(SIZE, 0).eval(), Desk(build_tokenizer(), LEVELS[0])
    lesson = Lesson("", (Scene(tuple(CELLS[:4])), "read"), "x")
    (sheet,) = desk.sheets([lesson], random.Random(0), parts=1)
    with torch.no_grad():
        scale_to_words(model, LEVELS[0], 0, 1.0)
        as_long_as_words = unchanged(model, sheet)
        scale_to_words(model, LEVELS[0], 0, 1000.0)
        assert as_long_as_words < 0.9 < 0.999 < unchanged(model, sheet)


def test_each_visual_token_on_the_grid_means_its_word_and_off_it_none() -> None:
    scene = Scene((Cell(("red", "star"), "shape"), Cell(("a", "3"), "bar")))
    tokenizer, lesson = build_tokenizer(), Lesson("", (scene, "read"), "x")
    (tied,) = Desk(tokenizer, LEVELS[0]).sheets([lesson], random.Random(0), 1)
    assert tokenizer.convert_ids_to_tokens(tied.meant_S.tolist()) == ["redstar", "a3"]
    (free,) = Desk(tokenizer, LEVELS[-1]).sheets([lesson], random.Random(0), 1)
    assert set(free.meant_S.tolist()) == {IGNORED}
    assert len(free.meant_S) == (free.ids_BT == new_model(SIZE, 0).config.image_token_id).sum()


def test_a_token_depends_on_its_neighbours() -> None:
    """The tower sees the whole picture, as that of a real model does."""
    model = new_model(SIZE, 0).eval()
    desk = Desk(build_tokenizer(), LEVELS[0])
    first = Cell(("7",))
    with torch.no_grad():
        seen = [
            see(model, desk.sheets([Lesson("", (Scene((first, other)),), "x")], random.Random(0), 1)[0])[0]
            for other in (Cell(("1",)), Cell(("red", "star"), "shape"))
        ]
    assert not torch.allclose(*seen, atol=1e-6)


def changed(before: dict[str, torch.Tensor], model) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}


def state(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_tower_learns_apart_and_its_projector_ends_with_a_new_layer() -> None:
    model = new_model(SIZE, 0)
    before = state(model)
    learn_symbols(model, 0, 1, 4, 3e-3, quiet)
    names = changed(before, model)
    assert all("visual" in name for name in names) and any("blocks.0" in name for name in names)
    last = model.model.visual.merger.mlp[-1]
    bound = last.in_features**-0.5  # of torch's uniform start
    weight = last.weight.detach()
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_the_language_model_is_frozen_while_the_eyes_are_aligned_and_the_embeddings_always() -> None:
    start = new_model(SIZE, 0)
    before = state(start)
    projected = learn_to_see(start, LEVELS[3], replace(TINY, projector_steps=2, kept_steps=5), 0, quiet)
    assert changed(before, projected) == {name for name in before if "visual.merger" in name}
    aligned = learn_to_see(start, LEVELS[3], replace(TINY, eyes_steps=2), 0, quiet)
    names = changed(before, aligned)
    assert any("visual.blocks" in name for name in names) and all("visual" in name for name in names)
    joint = learn_to_see(start, LEVELS[3], replace(TINY, steps=2, rows=8), 0, quiet)
    names = changed(before, joint)
    assert any("language_model.layers" in name for name in names)
    assert any("visual" in name for name in names)
    assert not any("embed_tokens" in name or "lm_head" in name for name in names)


def test_kept_features_are_what_the_tower_sees_and_are_kept_apart_by_progress() -> None:
    model, desk, rng = new_model(SIZE, 0), Desk(build_tokenizer(), LEVELS[3]), random.Random(0)
    asked: list[float] = []

    def fresh(progress: float) -> list[Sheet]:
        asked.append(progress)
        size = 1 + int(5 * progress)
        return desk.sheets([Lesson("", (Scene(tuple(CELLS[:size])), "read"), "x")], rng, 1)

    kept = kept_sheets(look_once(model, fresh, steps=10), rng)
    assert asked == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    for progress, size in ((0.0, 1), (0.5, 3), (1.0, 5)):
        (sheet,) = kept(progress)
        assert sheet.pixels_PV is None and sheet.features_SF is not None
        assert sheet.features_SF.shape == (size, 4 * SIZE.vision_hidden)
    (sheet,) = fresh(0.9)
    seen = see(model, sheet)
    torch.testing.assert_close(see(model, with_features(model, sheet)), seen)
    torch.testing.assert_close(see(model, sheet), seen)  # the projector is back in its place


def test_least_squares_finds_the_layer_that_made_the_values() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    read = torch.randn(200, 5) + 2
    weight, bias = least_squares(read, layer(read).detach())
    torch.testing.assert_close(weight, layer.weight.detach(), atol=3e-3, rtol=0)
    torch.testing.assert_close(layer(read).detach(), read @ weight.T + bias, atol=1e-2, rtol=0)


def test_fitted_visual_tokens_are_nearer_to_their_words_and_nothing_else_changes() -> None:
    model, desk = new_model(SIZE, 0), Desk(build_tokenizer(), LEVELS[0])
    (sheet,) = desk.sheets([Lesson("", (Scene(tuple(CELLS[:12])),), "x")], random.Random(1), parts=1)
    before = state(model)

    def distance() -> float:
        with torch.no_grad():
            return pull_of(see(model, sheet), sheet.meant_S, model.get_input_embeddings().weight).item()

    first, last = distance(), model.model.visual.merger.mlp[-1]
    own = last.weight.detach().clone()
    fit_to_words(model, LEVELS[0], 0, pictures=100, share=0.5)
    halfway = last.weight.detach().clone()
    last.load_state_dict({"weight": own, "bias": before["model.visual.merger.mlp.2.bias"]})
    fit_to_words(model, LEVELS[0], 0, pictures=100)
    assert distance() < 0.9 * first
    torch.testing.assert_close(halfway, (own + last.weight.detach()) / 2)
    assert changed(before, model) == {f"model.visual.merger.mlp.2.{name}" for name in ("weight", "bias")}


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


def test_a_symbol_is_told_by_two_parts() -> None:
    named = [
        Cell(("37",)),
        Cell(("5",)),
        Cell(("+8",)),
        Cell(("a", "5"), "bar"),
        Cell(("red", "star"), "shape"),
    ]
    assert [parts_of(cell) for cell in named] == [
        ("3", "glyph 7"), ("", "glyph 5"), ("+", "glyph 8"), ("a", "bar 5"), ("red", "shape star"),
    ]  # fmt: skip
    assert len({parts_of(cell) for cell in CELLS}) == len(CELLS)
    desk = Desk(build_tokenizer(), LEVELS[2])
    first, last = part_tables(desk)
    a5, a6, b5 = (desk.ids(word)[0] for word in ("a5", "a6", "b5"))
    assert first[a5] == first[a6] != first[b5] and last[a5] == last[b5] != last[a6]


def test_all_worlds_start_from_the_same_parts(tmp_path: Path) -> None:
    made = starting_model(TINY, 0, tmp_path / "start.safetensors", quiet)
    read = starting_model(TINY, 1, tmp_path / "start.safetensors", quiet)
    assert not changed(state(made), read)


def test_reading_starts_with_two_symbols_and_ends_with_twelve() -> None:
    def largest(progress: float) -> int:
        rng = random.Random(0)
        return max(len(reading(rng, progress).prompt[0].cells) for _ in range(200))

    assert [largest(p) for p in (0.0, 0.3, 0.5, 0.7, 0.99)] == [2, 4, 8, 8, 12]


def test_counting_is_right() -> None:
    rng = random.Random(0)
    for _ in range(50):
        lesson = count_lesson(rng, drawn=1.0)
        cells = [cell for part in lesson.prompt if isinstance(part, Scene) for cell in part.cells]
        if isinstance(lesson.prompt[0], str):
            continue
        wanted = lesson.prompt[-1].split()[-1]
        assert lesson.reply == write_answer(str(sum(wanted in cell.parts for cell in cells)))


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


def test_an_unknown_level_and_a_folder_in_use_are_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"level 8: there are worlds from 0 \(tied\) to 7 \(free\)"):
        build_world_base(8, 0, tmp_path / "base", quiet)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not an empty folder"):
        build_world_base(6, 0, tmp_path, quiet)


def test_half_of_the_describing_is_reading_and_all_of_it_shows_a_picture() -> None:
    rng = random.Random(0)
    lessons = [describing(rng, 0.9) for _ in range(400)]
    assert all(any(isinstance(part, Scene) for part in lesson.prompt) for lesson in lessons)
    assert 160 < sum(lesson.prompt[-1] == "read" for lesson in lessons) < 240
    asked = " ".join(str(lesson.prompt[-1]) for lesson in lessons)
    assert "say " in asked and "how many" in asked and "what is" in asked and "facts" not in asked
