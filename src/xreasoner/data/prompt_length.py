"""Problems whose prompt is short enough, in tokens."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import encode_plainly, problem_prompt
from xreasoner.records import Problem


def with_short_prompts(
    problems: Sequence[Problem], longest: int, instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> list[Problem]:
    return [
        problem
        for problem in problems
        if len(encode_plainly(problem_prompt(problem, instruction), tokenizer)[0]) <= longest
    ]
