"""What a gain on images is made of: problems solved from their image, as read aloud, from another image."""

from collections.abc import Sequence
from dataclasses import replace

from xreasoner.chat.template import problem_prompt
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.item import Item, Split
from xreasoner.miniworld.problems import CLINICAL, make_items, phrase, read_problem
from xreasoner.records import Problem, Sampling
from xreasoner.rewards.extract import find_answer
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine

SAMPLING = Sampling(think_budget=128, answer_budget=64)
AS_IN_GRPO = replace(SAMPLING, temperature=1.0)
MANY_STEPS = (3, 6)
CLINICAL_STEPS = (2, 5)
DIFFICULTIES = 4
"""Of many-step problems, which take turns."""


def swap_images(problems: Sequence[Problem], apart: int = DIFFICULTIES) -> list[Problem]:
    """Each problem with the image of the one that is so many places after it."""
    lenders = [*problems[apart:], *problems[:apart]]
    return [
        replace(problem, question=(lender.question[0], *problem.question[1:]))
        for problem, lender in zip(problems, lenders, strict=True)
    ]


def replies(
    engine: Engine, problems: Sequence[Problem], instruction: str | None, sampling: Sampling = SAMPLING
) -> dict[str, str]:
    prompts = [problem_prompt(problem, instruction) for problem in problems]
    return {rollout.prompt_id: rollout.text for rollout in engine.generate(prompts, sampling)}


def read_aloud(engine: Engine, items: Sequence[Item]) -> list[str]:
    """What a model says that the image of each item shows."""
    return transcribed(engine, [read_problem(item, "image", 0) for item in items])


def transcribed(engine: Engine, problems: Sequence[Problem]) -> list[str]:
    """The answers to problems that ask what an image shows."""
    said = replies(engine, problems, None)
    return [find_answer(said[problem.id], problem).answer or "" for problem in problems]


def as_read(problem: Problem, words: str) -> Problem:
    """A problem on an image as text, with the words that were read in it."""
    _, question = problem.question
    return replace(problem, question=(f"[ {words} ] {question}",))


def solved(
    engine: Engine,
    problems: Sequence[Problem],
    grader: Grader,
    instruction: str | None = THINK_INSTRUCTION,
    sampling: Sampling = SAMPLING,
) -> list[bool]:
    said = replies(engine, problems, instruction, sampling)
    return [grader.score(problem, said[problem.id]).correct is True for problem in problems]


def many_steps(family: str, split: Split, count: int) -> list[Item]:
    """As the quickstart asks, but for how many."""
    return make_items(family, CLINICAL_STEPS if family in CLINICAL else MANY_STEPS, count, split, 0)


def as_they_are(engine: Engine, items: Sequence[Item]) -> dict[str, list[bool]]:
    """Which problems are solved from their text and from their image. Asked plainly, a model answers at once,
    and a base may be better at that than at thinking. Greedy, but for the sampled ones."""
    drawn = [phrase(item, "image", 0) for item in items]
    with Grader() as grader:
        return {
            "text": solved(engine, [phrase(item, "text", 0) for item in items], grader),
            "images": solved(engine, drawn, grader),
            "images, sampled": solved(engine, drawn, grader, sampling=AS_IN_GRPO),
            "images, asked plainly": solved(engine, drawn, grader, None),
        }


def controls(engine: Engine, reader: Engine, items: Sequence[Item]) -> dict[str, list[bool]]:
    """Which problems are solved otherwise; `reader` reads the images aloud for `engine`."""
    drawn = [phrase(item, "image", 0) for item in items]
    words = read_aloud(reader, items)
    with Grader() as grader:
        return {
            "read aloud, then text": solved(
                engine, [as_read(*pair) for pair in zip(drawn, words, strict=True)], grader
            ),
            "images of others": solved(engine, swap_images(drawn), grader),
            "read without errors": [
                said.split() == item.scene.words() for said, item in zip(words, items, strict=True)
            ],
        }
