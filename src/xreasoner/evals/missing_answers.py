"""Where the rules find no answer in a reply, a judge model may look for it; the rules still compare it.

Only missing answers are looked at, so no verdict of the rules is overturned; `xreasoner regrade` undoes it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xreasoner.evals.regrade import Regraded, finished, problem_of, with_score
from xreasoner.evals.samples import Sample, read_samples, write_samples
from xreasoner.evals.summary import summarise
from xreasoner.records import OPTION_LETTERS, Message, Prompt, Rollout, Sampling
from xreasoner.rewards.answers import outside_thought
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.storage.files import write_json

NONE = "NONE"
ASKED = (
    "A model was asked:\n{question}\n\nIt replied:\n{reply}\n\nWhich final answer does this reply give? "
    "Do not solve the problem yourself. Write only the answer{form}. If the reply gives none, or more than "
    f"one, write {NONE}."
)
SHORT = Sampling(think_budget=2048, answer_budget=128, forced_exit=False)


def judge_run(run_dir: Path, engine: Engine, judge: str, grader: Grader) -> Iterator[Regraded]:
    for path in finished(run_dir):
        before = list(read_samples(path))
        after = judged(before, engine, judge, grader)
        changed = tuple(pair for pair in zip(before, after, strict=True) if pair[0] != pair[1])
        if changed:
            write_samples(path, after)
            facts = json.loads(path.with_suffix(".json").read_text())
            write_json(path.with_suffix(".json"), {**facts, **vars(summarise(after)), "judge": judge})
        yield Regraded(path, sum(map(is_open, before)), changed)


def is_open(sample: Sample) -> bool:
    """The rules found no answer, but there is a reply outside the thought."""
    return sample.missing and bool(outside_thought(sample.text))


def judged(samples: Sequence[Sample], engine: Engine, judge: str, grader: Grader) -> list[Sample]:
    prompts = [prompt_for(sample) for sample in samples if is_open(sample)]
    found = {rollout.prompt_id: answer_in(rollout) for rollout in engine.generate(prompts, SHORT)}
    return [with_judge(sample, found.get(name_of(sample), ""), judge, grader) for sample in samples]


def name_of(sample: Sample) -> str:
    return f"{sample.id} {sample.sample}"


def prompt_for(sample: Sample) -> Prompt:
    lettered = (f"\n{letter}: {text}" for letter, text in zip(OPTION_LETTERS, sample.choices, strict=False))
    asked = ASKED.format(
        question=sample.question + "".join(lettered),
        reply=outside_thought(sample.text),
        form=", the letter of one option" if sample.choices else "",
    )
    return Prompt(name_of(sample), (Message("user", (asked,)),))


def answer_in(rollout: Rollout) -> str:
    """Empty where the judge found none, or could not be asked."""
    said = outside_thought(rollout.text)
    return "" if rollout.trouble or said.strip(" .*\"'").upper() == NONE else said


def with_judge(sample: Sample, found: str, judge: str, grader: Grader) -> Sample:
    if not found:
        return sample
    score = grader.score(problem_of(sample), f"<answer>{found}</answer>")
    return with_score(sample, replace(score, why=f"the judge {judge} found it: {score.why}"))
