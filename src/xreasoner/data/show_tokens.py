"""What the model is trained on, token by token: prompt dim, targets in colour."""

from rich.console import Console
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import Example

PROMPT_STYLE = "dim"
TARGET_STYLES = ("bold green", "bold cyan")
"""Neighbouring targets alternate, so that the cuts between tokens can be seen."""


def colour(example: Example, tokenizer: PreTrainedTokenizerBase) -> Text:
    text = Text()
    for position, (token, is_target) in enumerate(zip(example.ids, example.is_target, strict=True)):
        style = TARGET_STYLES[position % 2] if is_target else PROMPT_STYLE
        text.append(str(tokenizer.decode([token])), style)
        if tokenizer.backend_tokenizer.decoder is None:
            text.append(" ")  # a word-level vocabulary: decoding single tokens drops what parts them
    return text


def show(example: Example, tokenizer: PreTrainedTokenizerBase, console: Console) -> None:
    targets = sum(example.is_target)
    console.rule(f"{len(example.ids)} tokens, {targets} of them targets (coloured)")
    console.print(colour(example, tokenizer), soft_wrap=True)
