"""The controls, held against the world itself and the shipped base, which reads its own images."""

from xreasoner.miniworld.probes.controls import as_read, read_aloud, swap_images
from xreasoner.miniworld.problems import make_items, phrase
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.rollout.torch_engine.engine import TorchEngine


def test_a_problem_that_was_read_aloud_without_errors_is_its_text_view() -> None:
    items = make_items("bars", (3, 4), 12, "dev", 0)
    said = read_aloud(TorchEngine(load(MINIWORLD)), items)
    scenes = [" ".join(item.scene.words()) for item in items]
    assert sum(one == scene for one, scene in zip(said, scenes, strict=True)) >= 10
    for item, scene in zip(items, scenes, strict=True):
        assert as_read(phrase(item, "image", 0), scene).question == phrase(item, "text", 0).question


def test_images_are_swapped_and_questions_and_answers_are_not() -> None:
    problems = [phrase(item, "image", 0) for item in make_items("shapes", (3, 6), 8, "dev", 0)]
    swapped = swap_images(problems, 4)
    assert [one.question[0] for one in swapped] == [one.question[0] for one in problems[4:] + problems[:4]]
    assert [one.tags["steps"] for one in problems[4:] + problems[:4]] == [
        one.tags["steps"] for one in problems
    ]
    assert [(one.id, one.answer, one.question[1:]) for one in swapped] == [
        (one.id, one.answer, one.question[1:]) for one in problems
    ]
