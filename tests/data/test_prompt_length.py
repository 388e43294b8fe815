from pathlib import Path

from xreasoner.data.prompt_length import longest_sequence, with_short_prompts
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.records import Picture, Problem, Sampling


def test_prompts_are_counted_with_the_chat_template_and_the_instruction(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    problems = [Problem(str(n), (" ".join("1" * n),), "1", "exact") for n in (1, 5, 9)]
    # <|im_start|> user ... <|im_end|> <|im_start|> assistant, and with an instruction
    # <|im_start|> system think <|im_end|> before it.
    for instruction, around in ((None, 5), ("think", 9)):
        for longest, kept in ((around, 0), (around + 1, 1), (around + 8, 2), (around + 9, 3)):
            found = with_short_prompts(problems, longest, instruction, tokenizer)
            assert [problem.id for problem in found] == ["1", "5", "9"][:kept]


def test_the_longest_sequence_is_the_longest_prompt_and_reply() -> None:
    """Prompts of 6 and 14 tokens; a reply of at most 30 + 8 + 1 + 32 + 8 (forced_exit.max_tokens)."""
    tokenizer = build_tokenizer()
    sampling = Sampling(think_budget=30, answer_budget=8)
    short, long = (Problem(str(n), (" ".join("1" * n),), "1", "exact") for n in (1, 5))
    assert longest_sequence([(short, None)], sampling, tokenizer) == 6 + 79
    assert longest_sequence([(short, None), (long, "think")], sampling, tokenizer) == 14 + 79
    seen = Problem("seen", (Picture(b""), Picture(b""), "1"), "1", "exact")
    without = longest_sequence([(seen, None)], sampling, tokenizer)
    assert longest_sequence([(seen, None)], sampling, tokenizer, tokens_per_image=100) == without + 200
