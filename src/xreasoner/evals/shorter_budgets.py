"""Accuracy against tokens of thought: shorter budgets are answered from the beginnings of one long answer.

The thought is generated once, with the longest budget. What ended before a shorter budget was spent would
have been the same answer under it. The other thoughts are cut there, and only the exit that is forced then,
and the answer after it, are generated anew: greedy or with the engine's own streams of random numbers, the
tokens are those of a separate evaluation with that budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xreasoner.chat.template import problem_prompt
from xreasoner.evals.display import Show
from xreasoner.evals.runner import graded, write_down
from xreasoner.evals.samples import Key, Sample
from xreasoner.evals.task import ALONE, Shard, Task
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine, PartialRollout, resume_rollouts


def answer_shorter(
    task: Task, longest: Task, engine: Engine, grader: Grader, show: Show, shard: Shard = ALONE
) -> None:
    """`task` is `longest` with a shorter budget; this shard of `longest` has been answered."""
    problems = {problem.id: problem for problem in task.benchmark.problems}
    long = {sample.key: sample for sample in longest.answers()}

    def answers(open_keys: Sequence[Key]) -> Iterator[Sample]:
        same = [key for key in open_keys if is_unaffected(long[key], task.sampling.think_budget)]
        for key in same:
            yield replace(long[key], asked=task.asked[key[0]], tokens=())
        instruction = task.benchmark.instruction
        cut = [
            PartialRollout(problem_prompt(problems[name], instruction), sample, beginning(long[name, sample]))
            for name, sample in sorted(set(open_keys) - set(same))
        ]
        for rollout in resume_rollouts(engine, cut, task.sampling):
            yield graded(task, grader, problems[rollout.prompt_id], rollout)

    write_down(task, shard, show, answers)


def is_unaffected(sample: Sample, budget: int) -> bool:
    """All of it was written before the budget was spent; nothing is known of a server's tokens."""
    return sample.broken or 0 < len(sample.tokens) <= budget


def beginning(sample: Sample) -> tuple[int, ...]:
    """What the policy wrote before anything was injected."""
    return sample.tokens[: sample.think_tokens] if sample.forced else sample.tokens
