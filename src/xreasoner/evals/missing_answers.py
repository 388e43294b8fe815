"""A judge model looks for answers that the rules did not find; the rules then grade what it finds.

Only samples without an answer are judged, so no verdict changes; `xreasoner regrade` undoes it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from xreasoner.evals.regrade import Regraded, finished
from xreasoner.evals.samples import Answers, KeptProblem, Sample, read_answers, read_result, write_finished
from xreasoner.evals.summary import summarise
from xreasoner.records import OPTION_LETTERS, Message, Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.statements import outside_thought
from xreasoner.rollout.engine import Engine

NONE = "NONE"
ASKED = (
    "A model was asked:\n{question}\n\nIt replied:\n{reply}\n\nWhich final answer does this reply give? "
    "Do not solve the problem yourself. Write only the answer{form}. If the reply gives none, or more than "
    f"one, write {NONE}."
)
SHORT = Sampling(think_budget=2048, answer_budget=128, forced_exit=False)


def judge_run(run_dir: Path, engine: Engine, judge: str, grader: Grader) -> Iterator[Regraded]:
    for path in finished(run_dir):
        before = read_answers(path)
        after = judged(before, engine, judge, grader)
        pairs = zip(before.samples, after.samples, strict=True)
        changed = tuple(pair for pair in pairs if pair[0] != pair[1])
        if changed:
            result = {**read_result(path), **vars(summarise(after)), "judge": judge}
            write_finished(path, after.samples, result)
        yield Regraded(path, sum(map(is_open, before.samples)), changed)


def is_open(sample: Sample) -> bool:
    """The rules found no answer, but there is text outside the thought."""
    return sample.score.missing and bool(outside_thought(sample.text))


def judged(answers: Answers, engine: Engine, judge: str, grader: Grader) -> Answers:
    problems, samples = answers.problems, answers.samples
    prompts = [prompt_for(one, problems[one.problem_id]) for one in samples if is_open(one)]
    found = {rollout.prompt_id: answer_in(rollout) for rollout in engine.generate(prompts, SHORT)}
    scored = (
        with_judge(one, problems[one.problem_id].problem, said, judge, grader)
        if (said := found.get(name_of(one)))
        else one
        for one in samples
    )
    return replace(answers, samples=tuple(scored))


def name_of(sample: Sample) -> str:
    return f"{sample.problem_id} {sample.epoch}"


def prompt_for(sample: Sample, kept: KeptProblem) -> Prompt:
    choices = kept.problem.choices
    lettered = (f"\n{letter}: {text}" for letter, text in zip(OPTION_LETTERS, choices, strict=False))
    asked = ASKED.format(
        question=kept.question + "".join(lettered),
        reply=outside_thought(sample.text),
        form=", the letter of one option" if choices else "",
    )
    return Prompt(name_of(sample), (Message("user", (asked,)),))


def answer_in(rollout: Rollout) -> str:
    """Empty if the judge found none or could not be asked."""
    said = outside_thought(rollout.text)
    return "" if rollout.trouble or said.strip(" .*\"'").upper() == NONE else said


def with_judge(sample: Sample, problem: Problem, found: str, judge: str, grader: Grader) -> Sample:
    score = grader.score(problem, f"<answer>{found}</answer>")
    return replace(sample, score=replace(score, rule="judge", why=f"the judge {judge} found it: {score.why}"))
