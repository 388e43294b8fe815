"""Items with a single option, of which MMMU has some: its script can only pick that one."""

from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.benchmarks.mmmu import read_mmmu
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader


def test_the_only_option_counts_as_chosen_whatever_is_said() -> None:
    row = {"id": "validation_Art_1", "question": "Which?", "options": "['this one']", "answer": "A"}
    problem = read_mmmu("one", row, Pictures())
    assert (problem.choices, problem.answer) == (("this one",), "A")
    with Grader() as grader:
        replies = ("<answer>A</answer>", "I cannot tell.\nThe image is missing.", "<answer>B</answer>")
        scores = grader.score_many([(problem, reply) for reply in replies])
    assert [score.correct for score in scores] == [True, True, True]
    assert not any(score.missing for score in scores)


def test_two_options_are_graded_as_before() -> None:
    problem = Problem("two", ("Which?",), "A", "choice", choices=("this one", "that one"))
    with Grader() as grader:
        assert grader.score(problem, "I cannot tell.\nThe image is missing.").missing
