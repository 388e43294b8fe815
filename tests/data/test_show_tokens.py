from xreasoner.chat.template import training_example
from xreasoner.data.show_tokens import PROMPT_STYLE, colour
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.records import Problem


def test_exactly_the_assistants_words_are_coloured() -> None:
    problem = Problem("p", ("work out 3 + 4",), "7", "exact", reasoning="3 + 4 = 7")
    tokenizer = build_tokenizer()
    text = colour(training_example(problem, None, tokenizer), tokenizer)
    coloured = [
        text.plain[span.start : span.end].strip() for span in text.spans if span.style != PROMPT_STYLE
    ]
    assert "".join(coloured) == "<think>3+4=7</think><answer>7</answer><|im_end|>"
    assert "work out 3 + 4" in text.plain
