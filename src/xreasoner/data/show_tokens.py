"""Training examples token by token: the prompt dim, the targets in colour."""

from rich.console import Console
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import Example

PROMPT_STYLE = "dim"
TARGET_STYLES = ("bold green", "bold cyan")
"""Alternating, so that token boundaries are visible."""


def colour(example: Example, tokenizer: PreTrainedTokenizerBase) -> Text:
    text = Text()
    for position, (token, is_target) in enumerate(zip(example.ids, example.is_target, strict=True)):
        style = TARGET_STYLES[position % 2] if is_target else PROMPT_STYLE
        text.append(str(tokenizer.decode([token])), style)
        if tokenizer.backend_tokenizer.decoder is None:
            text.append(" ")  # a word-level vocabulary: decoding single tokens drops the spaces between them
    return text


def show_tokens(example: Example, tokenizer: PreTrainedTokenizerBase, console: Console) -> None:
    targets = sum(example.is_target)
    console.rule(f"{len(example.ids)} tokens, {targets} of them targets (coloured)")
    console.print(colour(example, tokenizer), soft_wrap=True)
