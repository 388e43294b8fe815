"""Accuracy at shorter thinking budgets, from one evaluation with the longest budget.

A thought that ended within a shorter budget is the same answer under it. The other thoughts are cut at that
budget, and only the forced exit and the answer after it are generated. The tokens equal those of a separate
evaluation with that budget, greedy or sampled, if the engine has a stream of random numbers per sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xreasoner.chat.template import problem_prompt
from xreasoner.chat.think import THINK_CLOSE
from xreasoner.evals.display import Show
from xreasoner.evals.runner import graded, write_down
from xreasoner.evals.samples import Key, Sample
from xreasoner.evals.task import ALONE, RankShard, Task
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine, PartialRollout, resume_rollouts


def answer_shorter(
    task: Task, longest: Task, engine: Engine, grader: Grader, show: Show, shard: RankShard = ALONE
) -> None:
    """`task` is `longest` with a shorter budget. This shard of `longest` is already answered."""
    problems = {problem.id: problem for problem in task.benchmark.problems}
    long = {sample.key: sample for sample in longest.answers()}

    def answers(open_keys: Sequence[Key]) -> Iterator[Sample]:
        same = [key for key in open_keys if is_unaffected(long[key], task.sampling.think_budget)]
        for key in same:
            yield replace(long[key], asked=task.asked[key[0]], tokens=())
        instruction, budget = task.benchmark.instruction, longest.sampling.think_budget
        cut = [
            PartialRollout(
                problem_prompt(problems[name], instruction), sample, beginning(long[name, sample], budget)
            )
            for name, sample in sorted(set(open_keys) - set(same))
        ]
        for rollout in resume_rollouts(engine, cut, task.sampling):
            yield graded(task, grader, problems[rollout.prompt_id], rollout)

    write_down(task, shard, show, answers)


def is_unaffected(sample: Sample, budget: int) -> bool:
    """It ended within the budget. A server's answers have no tokens, so nothing is known."""
    return sample.broken or 0 < len(sample.tokens) <= budget


def beginning(sample: Sample, budget: int) -> tuple[int, ...]:
    """What the policy generated before the forced exit; without a thought, that exit is at the budget."""
    if not sample.forced:
        return sample.tokens
    return sample.tokens[: sample.think_tokens if THINK_CLOSE in sample.text else budget]
