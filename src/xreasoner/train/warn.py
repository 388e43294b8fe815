"""Warnings about a stage, early and in one line each, with the likely cause."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.storage.journal import Say

NEARLY_ALL = 0.9
FEW_STEPS = 20
SMALL = 100e6
"""Parameters. The usual learning rates below are those of real models; smaller ones take larger rates."""
RATES = {
    ("sft", False): (1e-6, 1e-4),
    ("sft", True): (1e-5, 2e-3),
    ("grpo", False): (1e-7, 1e-5),
    ("grpo", True): (1e-6, 2e-4),
}
"""By kind of stage and whether adapters are trained: what published recipes of 0.5B to 70B models use."""


def warn_of_settings(settings: SftStage | GrpoStage, steps: int, parameters: int, say: Say) -> None:
    """Before the first step."""
    if steps < FEW_STEPS:
        size = "tokens_per_step" if isinstance(settings, SftStage) else "prompts_per_step"
        say(
            f"{settings.kind}: only {steps} optimizer steps, which change little; raise steps or epochs, "
            f"or lower {size}"
        )
    low, high = RATES[settings.kind, settings.lora is not None]
    if parameters >= SMALL and not low <= settings.lr <= high:
        what = "adapters" if settings.lora else "all weights"
        say(
            f"{settings.kind}: lr {settings.lr:g} is unusually {'high' if settings.lr > high else 'low'} for "
            f"{what} of {parameters / 1e9:.1f} B parameters; usual are {low:g} to {high:g}"
        )


@dataclass
class GrpoWatch:
    """Says each thing once."""

    say: Say
    recent: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=5))

    def see(self, step: int, values: Mapping[str, float]) -> None:
        """`step` is counted from 1."""
        self.recent.append(values)
        if step == 1:
            for line in warn_of_first_step(values):
                self.say(f"grpo step 1: {line}")
        if step == self.recent.maxlen and self._mean("skipped") > 0.8:
            easy = self._mean("correct") > 0.5
            cure = "harder problems" if easy else "easier problems, filters.pass_rates, or SFT before"
            self.say(
                f"grpo: {self._mean('skipped'):.0%} of the groups had no signal in the first {step} steps, "
                f"and {self._mean('correct'):.0%} of the answers were correct: use {cure}; "
                "oversample draws more at once"
            )

    def _mean(self, name: str) -> float:
        return fmean(values[name] for values in self.recent)


def warn_of_first_step(values: Mapping[str, float]) -> Iterator[str]:
    if why := why_no_signal(values):
        yield why
    if values["forced"] >= NEARLY_ALL:
        yield f"{values['forced']:.0%} of the thoughts reach think_budget; raise it"
    elif values["think_tokens"] == 0:
        yield (
            "no reply has a thought; the model does not know the form: run an SFT stage first, or show "
            "<think>...</think> in `instruction`"
        )


def why_no_signal(values: Mapping[str, float]) -> str:
    """From the metrics of a step: a line if every group has equal rewards, else the empty string."""
    if values["skipped"] < 1:
        return ""
    if values["unscored"] >= NEARLY_ALL:
        return (
            "no answer could be judged, so there is nothing to learn: check `rewards`, `kind` and the answers"
        )
    if values["correct"] >= 1:
        return "every answer is correct, so there is nothing to learn: use harder problems"
    if values["correct"] > 0:
        return "answers to one problem are all correct or all wrong: raise samples_per_prompt or temperature"
    start = "no answer is correct, so there is nothing to learn. Likely cause: "
    if values["cut"] >= NEARLY_ALL:
        return start + "the answers are cut off; raise think_budget and answer_budget"
    if values["missing"] >= NEARLY_ALL:
        return (
            start + "the replies have no answer that the grader finds, such as <answer>...</answer>; "
            "run an SFT stage first, show an example in `instruction`, or add the reward `form`"
        )
    return start + "the problems are too hard; use easier ones, filters.pass_rates, or an SFT stage first"
