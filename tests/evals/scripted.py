"""An engine with scripted answers that can be killed after a given number of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from xreasoner.evals.samples import Answers, KeptProblem, Sample
from xreasoner.records import Picture, Problem, Prompt, Rollout, Sampling, Score

PNG = b"\x89PNG fake"


class Killed(BaseException):
    """Not an Exception, as a kill is none."""


class ScriptedEngine:
    def __init__(self, says: Callable[[str, int], str], killed_after: int | None = None) -> None:
        self.says = says
        self.killed_after = killed_after
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        for prompt in reversed(prompts):  # any order is allowed
            self.asked.append(prompt.id)
            for sample in range(sampling.n):
                if self.killed_after == 0:
                    raise Killed
                if self.killed_after is not None:
                    self.killed_after -= 1
                yield rollout(prompt.id, sample, self.says(prompt.id, sample))


def rollout(prompt_id: str, sample: int, text: str) -> Rollout:
    thought = text.partition("</think>")[0].split()
    return Rollout(
        prompt_id=prompt_id,
        sample=sample,
        prompt_ids=(1,),
        token_ids=(2,),
        by_policy=(1,),
        logprobs=(0.0,),
        text=text,
        stop="eos",
        forced_exit="forced" in text,
        think_tokens=len(thought),
    )


def problem(number: int, picture: bool = False) -> Problem:
    parts = (Picture(PNG + bytes([number])), " read it") if picture else (f"what is {number} + 1 ?",)
    return Problem(
        id=f"p{number:03d}" + ("-image" if picture else "-text"),
        item=f"p{number:03d}",
        question=parts,
        answer=str(number + 1),
        kind="exact",
        tags={"family": "sums", "steps": 1 + number % 3},
    )


def sample(number: int, correct: bool | None, view: str = "image", epoch: int = 0) -> Sample:
    """An answer to item `number`."""
    return Sample(
        problem_id=f"p{number:03d}-{view}",
        epoch=epoch,
        asked="",
        score=Score(correct, "1", ""),
        forced=False,
        stop="eos",
        think_tokens=1,
        text="",
    )


def answers(*samples: Sample, **changes: Any) -> Answers:
    """These samples, and for each the problem it answers; `changes` are the same for all problems."""
    return Answers({one.problem_id: kept(one.problem_id, **changes) for one in samples}, samples)


def kept(problem_id: str, pictures: tuple[str, ...] = (), **changes: Any) -> KeptProblem:
    asked = Problem(problem_id, ("?",), "1", "exact", item=problem_id.split("-")[0])
    return KeptProblem(replace(asked, **changes), pictures)
