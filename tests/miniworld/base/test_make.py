"""Each phase of a base trains what it says, and finished parts are used again."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.chat.think import write_answer
from xreasoner.miniworld.base import make
from xreasoner.miniworld.base.encode import LessonEncoder, visual_tokens
from xreasoner.miniworld.base.lessons import (
    CELLS,
    Lesson,
    Syllabus,
    count_lesson,
    drill_lesson,
    next_lesson,
    options_lesson,
    question_lesson,
)
from xreasoner.miniworld.base.make import build_base, learn_both, make_base, renew_projector
from xreasoner.miniworld.base.settings import TEXT, TEXT_AND_PICTURES, BaseSettings
from xreasoner.miniworld.model import Size, new_model
from xreasoner.miniworld.pictures.worlds import LEVELS, QWENS, level_named
from xreasoner.miniworld.scene import Scene
from xreasoner.miniworld.tokenizer import build_tokenizer

TINY = BaseSettings(text_steps=1, tower_steps=1, steps=1, views=1, rows=4)


def quiet(line: str) -> None:
    pass


def state(model: Qwen2_5_VLForConditionalGeneration) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("level", [3, 5])
def test_the_last_phase_trains_language_model_and_projector_and_nothing_else(level: int) -> None:
    start = new_model(Size(), 1)
    before = state(start)
    text, tower = start.model.language_model.state_dict(), start.model.visual.state_dict()
    model = learn_both(text, tower, replace(TINY, steps=4, rows=8), LEVELS[level], quiet)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    assert any("language_model.layers" in name for name in changed)
    assert {name for name in changed if "visual" in name} == {
        name for name in before if "visual.merger" in name
    }
    assert not any("embed_tokens" in name or "lm_head" in name for name in changed)


def test_positions_are_those_of_the_world() -> None:
    start = new_model(Size(), 1)
    parts = start.model.language_model.state_dict(), start.model.visual.state_dict()
    free = learn_both(*parts, replace(TINY, steps=0), LEVELS[6], quiet)
    assert tuple(free.config.text_config.rope_parameters["mrope_section"]) == QWENS


def test_a_new_projector_says_tokens_as_long_as_words_that_mean_none() -> None:
    model, encoder = new_model(Size(), 0), LessonEncoder(build_tokenizer(), LEVELS[0])
    before = state(model)
    renew_projector(model, encoder)
    batch = encoder.batch([Lesson("", (Scene(tuple(CELLS)),), "x")], random.Random(0))
    with torch.no_grad():
        seen, words = visual_tokens(model, batch), model.get_input_embeddings().weight[batch.meant_S]
        assert (seen.norm(dim=-1).mean() / words.norm(dim=-1).mean()).item() == pytest.approx(1, rel=0.01)
        assert torch.nn.functional.cosine_similarity(seen, words, dim=-1).mean().abs() < 0.05
    changed = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {f"model.visual.merger.mlp.2.{name}" for name in ("weight", "bias")}


def test_finished_parts_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_base(TINY, LEVELS[3], quiet, tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "text-0.safetensors",
        "tower-0.safetensors",
    ]

    def again(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(make, "learn_text", again)
    monkeypatch.setattr(make, "learn_symbols", again)
    second = make_base(TINY, LEVELS[3], quiet, tmp_path / "parts")
    assert all(torch.equal(value, state(second)[name]) for name, value in state(first).items())
    with pytest.raises(AssertionError, match="made again"):
        make_base(replace(TINY, seed=1), LEVELS[3], quiet, tmp_path / "parts")
    damaged = tmp_path / "parts" / "tower-0.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"tower-0\.safetensors is damaged .*: delete it"):
        make_base(TINY, LEVELS[3], quiet, tmp_path / "parts")


def test_a_world_with_two_tokens_to_a_symbol_has_a_tower_of_its_own(tmp_path: Path) -> None:
    for level in (2, 4):
        make_base(replace(TINY, steps=0), LEVELS[level], quiet, tmp_path)
    text, *towers = sorted(path.name for path in tmp_path.iterdir())
    assert text == "text-0.safetensors"
    assert towers == ["tower-0-two-tokens.safetensors", "tower-0.safetensors"]
    two, one = (load_file(tmp_path / name) for name in towers)
    assert not all(torch.equal(two[name], value) for name, value in one.items())


def test_a_checkpoint_appears_when_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "base_accuracies", lambda *_: {"read": 0.5})
    build_base(TINY, LEVELS[3], tmp_path / "base", quiet, None)
    assert (tmp_path / "base" / "measured.json").read_text() == '{\n "read": 0.5\n}\n'
    weights, config = (tmp_path / "base" / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == config.stat().st_mode
    with pytest.raises(ValueError, match="is not an empty folder"):
        build_base(TINY, LEVELS[3], tmp_path / "base", quiet, None)


def test_an_unknown_level_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"level 8: there are worlds from 0 \(tied\) to 7 \(free\)"):
        level_named(8)


def test_counting_is_right() -> None:
    rng = random.Random(0)
    for _ in range(50):
        lesson = count_lesson(rng, drawn=1.0)
        cells = [cell for part in lesson.prompt if isinstance(part, Scene) for cell in part.cells]
        if isinstance(lesson.prompt[0], str):
            continue
        wanted = lesson.prompt[-1].split()[-1]
        assert lesson.reply == write_answer(str(sum(wanted in cell.parts for cell in cells)))


@pytest.mark.parametrize("syllabus", [TEXT, TEXT_AND_PICTURES])
def test_lessons_of_a_base_count_and_add_as_often_as_they_say(syllabus: Syllabus) -> None:
    rng = random.Random(0)
    lessons = [next_lesson(rng, syllabus, 0.65, 0.9) for _ in range(2000)]
    asked = [" ".join(part for part in lesson.prompt if isinstance(part, str)) for lesson in lessons]
    assert sum(text.endswith("facts") for text in asked) / 2000 == pytest.approx(syllabus.facts, abs=0.02)
    assert sum(text.endswith("read") for text in asked) / 2000 == pytest.approx(syllabus.read, abs=0.03)
    restated = [
        one.reply for one, text in zip(lessons, asked, strict=True) if text.endswith("read") and one.system
    ]
    reads = sum(text.endswith("read") for text in asked)
    assert len(restated) / reads == pytest.approx(syllabus.restate, abs=0.08)
    words = re.fullmatch(r"<think>\n(.*) so\n</think>\n<answer>(.*)</answer>", restated[0])
    assert words is not None and words[1] == words[2]
    counts = sum("how many" in text and "abnormal" not in text for text in asked) / 2000
    assert counts > syllabus.count + 0.02  # also among the one-step questions
    one_step = 1 - (syllabus.facts + syllabus.read + syllabus.drill + syllabus.options + syllabus.count)
    chosen = sum("A: " in text and "options" not in text for text in asked) / 2000
    assert chosen == pytest.approx(one_step * syllabus.choices, abs=0.02)


def test_options_are_looked_up_by_name() -> None:
    rng = random.Random(0)
    for _ in range(20):
        lesson = options_lesson(rng, 0.0, far=0.0, absent=0.0)
        (text,) = lesson.prompt
        assert isinstance(text, str)
        shown = dict(re.findall(r"([A-D]): (\d+)", text))
        if lesson.system:
            judged = re.findall(r"([A-D]): (\d+) = (\d+) (yes|no) ;", lesson.reply)
            asked = text.split()[-1]
            right = [name for name, number in shown.items() if number == asked]
            assert lesson.reply.endswith(f"<answer>{right[0]}: {asked}</answer>")
            assert all(shown[name] == number for name, number, _, _ in judged)
            assert [verdict for _, _, _, verdict in judged] == ["no"] * (len(judged) - 1) + ["yes"]
            assert {compared for _, _, compared, _ in judged} == {asked} and judged[-1][0] == right[0]
            continue
        said = re.findall(r"([A-D]): (\d+)", lesson.reply)
        assert dict(said) == shown and len(said) == 4
        assert text.split(" say ")[1].split() == [f"{letter}:" for letter, _ in said]


def test_options_are_looked_up_past_a_restated_scene() -> None:
    rng, between = random.Random(0), set[int]()
    for _ in range(300):
        lesson = options_lesson(rng, 0.0, far=1.0, absent=0.0)
        scene, asked = lesson.prompt
        assert isinstance(scene, str) and isinstance(asked, str)
        cells = scene.removeprefix("[ ").removesuffix(" ]").split()
        between.add(len(cells))
        thought, _, answer = lesson.reply.removeprefix("<think>\n").partition("\n</think>\n<answer>")
        restated, _, judged = thought.partition(" so")
        assert restated.split() == cells
        shown = dict(re.findall(r"([A-D]): (\d+)", asked))
        assert len(shown) == 4
        said = re.findall(r"([A-D]): (\d+)", judged + " " + answer)
        assert all(shown[name] == number for name, number in said)
        assert asked.startswith("say ") == (judged == "")
    assert min(between) == 2 and max(between) == 40


def test_perhaps_no_option_answers_the_question() -> None:
    rng, all_absent = random.Random(0), 0
    for _ in range(40):
        lesson = options_lesson(rng, 0.0, far=0.0, absent=1.0)
        (text,) = lesson.prompt
        assert isinstance(text, str)
        if "what is" not in text:
            continue
        all_absent += 1
        shown, asked = re.findall(r"([A-D]): (\d+)", text), text.split()[-1]
        assert asked not in dict(shown).values()
        thought = " ".join(f"{name}: {number} = {asked} no ;" for name, number in shown)
        assert lesson.reply == f"<think>\n{thought}\n</think>\n<answer>no</answer>"
    assert all_absent > 10


def test_long_scenes_before_options_are_not_drawn() -> None:
    rng = random.Random(0)
    shown = [options_lesson(rng, 1.0, far=1.0, absent=0.0).prompt[:-1] for _ in range(200)]
    assert any(isinstance(part, Scene) for parts in shown for part in parts)
    cells = [len(part.cells) for parts in shown for part in parts if isinstance(part, Scene)]
    assert max(cells) == 12


def test_a_drill_may_restate_its_scene_first() -> None:
    for seed in range(20):
        lesson = drill_lesson(random.Random(seed), 0.0, 6, restate=1.0)
        (scene,) = re.findall(r"\[ (.*) \]", str(lesson.prompt[0]))
        assert lesson.reply.startswith(f"<think>\n{scene} so\n</think>\n<answer>")
        assert lesson.reply.count(" ; ") == scene.count(" ")


def test_no_question_takes_more_than_one_step() -> None:
    """One step of a sum has two words, as has one of counting; a question about bars names one of them."""
    rng = random.Random(0)
    for _ in range(100):
        scene, question = map(str, question_lesson(rng, 0.0, Syllabus(think=0.5)).prompt)
        asked = question.splitlines()[0]
        if re.fullmatch("work out|how many .*", asked) and not re.search(r"\b[a-h]\d\b", scene):
            assert scene.count(" ") == 3, scene  # the words and two brackets
        else:
            assert len(re.findall(r"\b[a-h]\b", asked)) <= 1, asked
