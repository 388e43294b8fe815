"""vLLM's view of a thought, read from the text: tags need not be tokens, and a plain answer is an answer.

Loaded by `vllm serve --reasoning-parser-plugin`, in vLLM's process.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.reasoning import ReasoningParser, ReasoningParserManager

from xreasoner.chat.apart import Stream, begins, take_apart
from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN

_TAIL = 16
"""Tokens in which a tag just completed must lie, one character a token included."""
_TURN = "<|im_start|>assistant"


class XReasonerParser(ReasoningParser):
    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._stream = Stream("anywhere")

    @property
    def reasoning_start_str(self) -> str:
        return THINK_OPEN

    @property
    def reasoning_end_str(self) -> str:
        return THINK_CLOSE

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Of the turn the model is in: the question may speak of tags as well."""
        return THINK_CLOSE in self._read(input_ids).rpartition(_TURN)[2]

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        return THINK_CLOSE in self._read(input_ids[-_TAIL - len(list(delta_ids)) :])

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        self._stream = Stream(begins(self._read(prompt_token_ids).rpartition(_TURN)[2]))

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        closed = self._closed_after(input_ids)
        return [] if closed is None else input_ids[closed:]

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        opened_before = THINK_OPEN not in model_output and THINK_CLOSE in model_output
        apart = take_apart(model_output, "in thought" if opened_before else "anywhere")
        return apart.reasoning if apart.thinks else None, apart.content or None

    def extract_reasoning_streaming(
        self, previous_text: str, current_text: str, delta_text: str, *token_ids: Sequence[int]
    ) -> DeltaMessage | None:
        # From the closing tag on vLLM sends the rest itself, so nothing may be held back any more.
        new = self._stream.grow(current_text, is_whole=THINK_CLOSE in current_text)
        if not new.reasoning and not new.content:
            return None
        return DeltaMessage(reasoning=new.reasoning or None, content=new.content or None)

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """As every engine of ours counts: those before the closing tag."""
        closed = self._closed_after(token_ids)
        if closed is None:
            return len(token_ids) if THINK_OPEN in self._read(token_ids[:_TAIL]) else 0
        return next(
            start for start in range(closed - 1, -1, -1) if THINK_CLOSE in self._read(token_ids[start:closed])
        )

    def _closed_after(self, ids: Sequence[int]) -> int | None:
        """How many tokens it took until the tag was complete."""
        if THINK_CLOSE not in self._read(ids):
            return None
        return bisect_left(range(len(ids)), True, key=lambda end: THINK_CLOSE in self._read(ids[:end]))

    def _read(self, ids: Sequence[int]) -> str:
        return str(self.model_tokenizer.decode(list(ids)))


ReasoningParserManager.register_module("xreasoner", module=XReasonerParser)
