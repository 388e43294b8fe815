"""A benchmark asked with several prompts: how much of a gain is form, and how much remains without it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xreasoner.evals.comparisons import change_between
from xreasoner.evals.samples import Answers
from xreasoner.evals.statistics import Difference
from xreasoner.evals.summary import summarise

AnswersByPrompt = Mapping[str, Mapping[str, Answers]]
"""By prompt and stage, in the order in which the recipe names the prompts."""


@dataclass(frozen=True)
class PromptGain:
    """A stage against the base, each with the prompt that it answers best."""

    benchmark: str
    base: str
    stage: str
    accuracies: Mapping[str, tuple[float, float]]
    """By prompt: the base's and the stage's."""
    best_of_base: str
    best_of_stage: str
    first: Difference | None
    """With the first prompt on both sides: this includes learning the form that it asks for."""
    best: Difference | None
    """Between the best prompts: the form alone, which another prompt gives the base, is not in it."""

    def as_json(self) -> dict[str, Any]:
        return {
            **{key: value for key, value in vars(self).items() if key not in ("first", "best")},
            "first": self.first and vars(self.first),
            "best": self.best and vars(self.best),
        }


def prompt_gains(benchmark: str, answers: AnswersByPrompt) -> Iterator[PromptGain]:
    prompts = list(answers)
    stages = [stage for stage in answers[prompts[0]] if all(stage in answers[one] for one in prompts)]
    if not stages:
        return
    base, *later = stages
    accuracy = {
        prompt: {stage: summarise(answers[prompt][stage]).accuracy for stage in (base, *later)}
        for prompt in prompts
    }

    def best_prompt(stage: str) -> str:
        return max(prompts, key=lambda prompt: accuracy[prompt][stage])

    for stage in later:
        old, new = best_prompt(base), best_prompt(stage)
        yield PromptGain(
            benchmark,
            base,
            stage,
            {prompt: (accuracy[prompt][base], accuracy[prompt][stage]) for prompt in prompts},
            old,
            new,
            change_between(answers[prompts[0]][base], answers[prompts[0]][stage]),
            change_between(answers[old][base], answers[new][stage]),
        )
