"""Why a first GRPO step has nothing to learn from, said while little time is lost."""

from collections.abc import Mapping

NEARLY_ALL = 0.9


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
