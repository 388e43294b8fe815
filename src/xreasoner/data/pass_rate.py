"""How often a model solves each problem: GRPO learns nothing from those it always or never solves."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xreasoner.chat.template import problem_prompt
from xreasoner.records import Problem, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.refused import watched
from xreasoner.storage.checked_json import checked_line, drop_damaged_lines, whole_lines
from xreasoner.storage.disk import LineFile
from xreasoner.storage.journal import Say

PROBLEMS_AT_ONCE = 512


def measure_pass_rates(
    problems: Sequence[Problem],
    engine: Engine,
    grader: Grader,
    instruction: str | None,
    sampling: Sampling,
    out: Path,
    say: Say,
) -> None:
    """Appends one line per problem to `out` once all its samples are graded; an interrupted run resumes."""
    done = rated_so_far(out, say)
    wanted = [number for number, problem in enumerate(problems) if problem.id not in done]
    say(f"{len(done):,} of {len(problems):,} problems already have a pass rate")
    with LineFile(out) as lines:
        for start in range(0, len(wanted), PROBLEMS_AT_ONCE):
            some = {str(number): problems[number] for number in wanted[start : start + PROBLEMS_AT_ONCE]}
            for number, rollouts in asked(some, engine, instruction, sampling, say):
                lines.write(checked_line(rate(some[number], rollouts, grader)))
            say(f"{len(done) + start + len(some):,} of {len(problems):,} problems done")


def asked(
    problems: dict[str, Problem], engine: Engine, instruction: str | None, sampling: Sampling, say: Say
) -> Iterator[tuple[str, list[Rollout]]]:
    """Yields each problem with its samples when the last one arrives."""
    prompts = [replace(problem_prompt(problem, instruction), id=key) for key, problem in problems.items()]
    waiting: dict[str, list[Rollout]] = {key: [] for key in problems}
    for rollout in watched(engine.generate(prompts, sampling), sampling, say):
        waiting[rollout.prompt_id].append(rollout)
        if len(waiting[rollout.prompt_id]) == sampling.n:
            yield rollout.prompt_id, waiting.pop(rollout.prompt_id)


def rate(problem: Problem, rollouts: Sequence[Rollout], grader: Grader) -> dict[str, Any]:
    """Failed and ungraded samples do not count; if there are no others, the rate is null."""
    scores = grader.score_many([(problem, rollout.text) for rollout in rollouts if not rollout.trouble])
    judged = [score.correct for score in scores if score.correct is not None]
    share = sum(judged) / len(judged) if judged else None
    return {"id": problem.id, "rate": share, "samples": len(judged)}


def rated_so_far(out: Path, say: Say) -> set[str]:
    if not out.exists():
        return set()
    if dropped := drop_damaged_lines(out):
        say(f"{out}: {dropped:,} damaged lines are dropped, and these problems asked again")
    return {line["id"] for line in whole_lines(out)}
