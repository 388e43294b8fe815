from pathlib import Path

from xreasoner.data.prompt_length import with_short_prompts
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.records import Problem


def test_prompts_are_counted_with_the_chat_template_and_the_instruction(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    problems = [Problem(str(n), (" ".join("1" * n),), "1", "exact") for n in (1, 5, 9)]
    # <|im_start|> user ... <|im_end|> <|im_start|> assistant, and with an instruction
    # <|im_start|> system think <|im_end|> before it.
    for instruction, around in ((None, 5), ("think", 9)):
        for longest, kept in ((around, 0), (around + 1, 1), (around + 8, 2), (around + 9, 3)):
            found = with_short_prompts(problems, longest, instruction, tokenizer)
            assert [problem.id for problem in found] == ["1", "5", "9"][:kept]
