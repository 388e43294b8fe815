"""The lengths of prompts in tokens: which are short enough, and how long the longest sequence can get."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import PromptError, encode_plainly, problem_prompt
from xreasoner.records import Problem, Sampling
from xreasoner.rollout.forced_exit import TAIL_TOKENS, max_tokens


def with_short_prompts(
    problems: Sequence[Problem], longest: int, instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> list[Problem]:
    return [
        problem
        for problem in problems
        if len(encode_plainly(problem_prompt(problem, instruction), tokenizer)[0]) <= longest
    ]


def longest_sequence(
    prompts: Iterable[tuple[Problem, str | None]],
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase,
    tokens_per_image: int = 0,
) -> int:
    """The longest prompt, images included, and the longest reply. Each problem comes with its instruction."""
    longest = max(_prompt_tokens(*prompt, tokenizer, tokens_per_image) for prompt in prompts)
    # The exit's text is a tag between line breaks.
    return longest + max_tokens(sampling, 2 * TAIL_TOKENS)


def _prompt_tokens(
    problem: Problem, instruction: str | None, tokenizer: PreTrainedTokenizerBase, tokens_per_image: int
) -> int:
    try:
        ids, pictures = encode_plainly(problem_prompt(problem, instruction), tokenizer)
    except PromptError:  # it cannot be asked, which the engine will report
        return 0
    return len(ids) + tokens_per_image * len(pictures)
