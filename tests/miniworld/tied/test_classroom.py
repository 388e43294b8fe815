"""Lessons equal what the real template, image processor and rope of Qwen2.5-VL make of the same problem."""

import random

import pytest
import torch

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION, Lesson, Syllabus, facts_lesson, next_lesson
from xreasoner.miniworld.model import Size, build_image_processor, new_model
from xreasoner.miniworld.problems import FAMILIES, make_items, phrase
from xreasoner.miniworld.scene import alphabet
from xreasoner.miniworld.tied.classroom import JITTERS, Classroom
from xreasoner.miniworld.tied.seeing import cell_pixels, look
from xreasoner.miniworld.tied.tied_base import batch_loss
from xreasoner.miniworld.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def classroom() -> Classroom:
    return Classroom(build_tokenizer(), alphabet())


def free_items(family: str) -> list:
    items = make_items(family, (2, 3), 20, "test", 0)
    return [item for item in items if phrase(item, "image", 0).kind == "exact"][:3]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lesson_has_the_ids_of_the_chat_template(family: str, classroom: Classroom) -> None:
    for item in free_items(family):
        encoded = encode_prompt(
            problem_prompt(phrase(item, "image", 0), THINK_INSTRUCTION),
            classroom.tokenizer,
            build_image_processor(),
        )
        row = classroom.row(Lesson(THINK_INSTRUCTION, (item.scene, item.question), ""), random.Random(0))
        assert row.ids[:-1] == list(encoded.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lesson_has_the_rope_positions_of_the_model(family: str, classroom: Classroom) -> None:
    model = new_model(Size(), 0)
    for item in free_items(family):
        row = classroom.row(Lesson("", (item.scene, item.question), item.answer), random.Random(0))
        grid = torch.tensor([[1, 2, 2 * len(item.scene.cells)]])
        ids = torch.tensor([row.ids])
        kinds = (ids == model.config.image_token_id).int()
        positions, _ = model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)
        assert positions[:, 0].T.tolist() == [list(position) for position in row.positions]


def test_the_loss_of_a_drawn_lesson_is_the_models_own() -> None:
    """Looking up seen cells is the same as showing the whole picture to the model."""
    model, tokenizer = new_model(Size(), 0).eval(), build_tokenizer()
    classroom = Classroom(tokenizer, alphabet())
    item = free_items("bars")[0]
    picture = phrase(item, "image", 0).pictures[0]
    encoded = encode_prompt(
        problem_prompt(phrase(item, "image", 0), None), tokenizer, build_image_processor()
    )
    reply = classroom.words(f"<answer> {item.answer} </answer> <|im_end|>")
    ids = torch.tensor([[*encoded.ids, *reply]])
    labels = ids.clone()
    labels[:, : len(encoded.ids)] = -100
    with torch.no_grad():
        own = model(
            input_ids=ids,
            pixel_values=encoded.pixel_values,
            image_grid_thw=encoded.image_grid_thw,
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            labels=labels,
        ).loss
        seen = look(model, encoded.pixel_values)
        lesson = Lesson("", (item.scene, item.question), f"<answer> {item.answer} </answer>")
        batch = classroom.batches([lesson], random.Random(0), parts=1)[0]
        places = torch.arange(len(seen))
        batch.cells_BT[batch.cells_BT >= 0] = places
        ours = batch_loss(model, seen, batch)
    assert picture.encoded[:4] == b"\x89PNG"
    assert ours.item() == pytest.approx(own.item(), abs=1e-5)


def test_every_cell_is_one_word_with_a_row_for_each_offset() -> None:
    cells = alphabet()
    assert len({cell.word for cell in cells}) == len(cells)
    assert len(cell_pixels(cells[:3])) == 4 * JITTERS * 3
    tokenizer = build_tokenizer()
    for cell in cells:
        (token,) = tokenizer(cell.word)["input_ids"]
        assert token != tokenizer.unk_token_id


def test_only_results_of_facts_are_learned(classroom: Classroom) -> None:
    row = classroom.row(facts_lesson(random.Random(0)), random.Random(0))
    learned = [i for i, is_learned in enumerate(row.learned) if is_learned]
    equals = classroom.ids("=")[0]
    assert len(learned) == 10
    assert {row.ids[i - 1] for i in learned} == {equals}


def test_lessons_never_show_a_test_item_and_many_steps_are_never_thought_through() -> None:
    rng = random.Random(0)
    lessons = [next_lesson(rng, Syllabus(), 0.5, 1.0) for _ in range(500)]
    thoughts = [lesson.reply for lesson in lessons if "<think>" in lesson.reply]
    assert thoughts and all(reply.count(" = ") <= 3 for reply in thoughts)
    assert {lesson.system for lesson in lessons if "<think>" in lesson.reply} == {THINK_INSTRUCTION}
