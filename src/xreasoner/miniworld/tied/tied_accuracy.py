"""The accuracy of a base checkpoint on each probe; stored with it and compared by a test."""

from pathlib import Path

from xreasoner.chat.template import problem_prompt
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.problems import TAUGHT, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Modality, Problem, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.storage.journal import Say

SAMPLING = Sampling(think_budget=128, answer_budget=64)
ONE_STEP_SUMS = 60
"""Few different ones exist."""


def probes(count: int) -> dict[str, tuple[list[Problem], str | None]]:
    """Problems and instruction by name: reading and one step without instruction, many steps with it."""
    found: dict[str, tuple[list[Problem], str | None]] = {}
    views: tuple[Modality, ...] = ("text", "image")
    for family in TAUGHT:
        one = min(count, ONE_STEP_SUMS) if family == "sums" else count
        for view in views:
            read = [read_problem(item, view, 0) for item in make_items(family, (2, 4), count, "test", 0)]
            look = [phrase(item, view, 0) for item in make_items(family, (1, 1), one, "test", 0)]
            many = [phrase(item, view, 0) for item in make_items(family, (3, 5), count, "test", 0)]
            found[f"read {family} {view}"] = (read, None)
            found[f"one step {family} {view}"] = (look, None)
            found[f"many steps {family} {view}"] = (many, THINK_INSTRUCTION)
    return found


def base_accuracies(checkpoint: Path, count: int, say: Say) -> dict[str, float]:
    """Greedy accuracy of each probe."""
    engine, accuracies = TorchEngine(load(checkpoint)), dict[str, float]()
    with Grader() as grader:
        for name, (problems, instruction) in probes(count).items():
            by_id = {problem.id: problem for problem in problems}
            prompts = [problem_prompt(problem, instruction) for problem in problems]
            answers = engine.generate(prompts, SAMPLING)
            right = [grader.score(by_id[answer.prompt_id], answer.text).correct for answer in answers]
            accuracies[name] = round(right.count(True) / len(right), 4)
            say(f"  {name:28s} {accuracies[name]:6.1%}")
    return accuracies
