"""A reasoning parser for vLLM that works on text: tags need not be tokens, and a thought is optional.

Loaded into vLLM's process by `vllm serve --reasoning-parser-plugin`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.reasoning import ReasoningParser, ReasoningParserManager

from xreasoner.chat.split_reply import ReplyStream, reply_start, split_reply
from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN

_TAIL = 16
"""A tag spans at most this many tokens, even with one token per character."""
_TURN = "<|im_start|>assistant"


class XReasonerParser(ReasoningParser):
    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._stream = ReplyStream("turn")

    @property
    def reasoning_start_str(self) -> str:
        return THINK_OPEN

    @property
    def reasoning_end_str(self) -> str:
        return THINK_CLOSE

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Only the model's current turn counts, because a question may contain tags too."""
        return THINK_CLOSE in self._read(input_ids).rpartition(_TURN)[2]

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        return THINK_CLOSE in self._read(input_ids[-_TAIL - len(list(delta_ids)) :])

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        self._stream = ReplyStream(reply_start(self._read(prompt_token_ids).rpartition(_TURN)[2]))

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        closed = self._closed_after(input_ids)
        return [] if closed is None else input_ids[closed:]

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        opened_before = THINK_OPEN not in model_output and THINK_CLOSE in model_output
        reply = split_reply(model_output, "in thought" if opened_before else "turn")
        return reply.reasoning if reply.has_thought else None, reply.content or None

    def extract_reasoning_streaming(
        self, previous_text: str, current_text: str, delta_text: str, *token_ids: Sequence[int]
    ) -> DeltaMessage | None:
        # After the closing tag vLLM sends the text itself, so nothing may be held back.
        new = self._stream.update(current_text, is_whole=THINK_CLOSE in current_text)
        if not new.reasoning and not new.content:
            return None
        return DeltaMessage(reasoning=new.reasoning or None, content=new.content or None)

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """The tokens before the closing tag, as all our engines count."""
        closed = self._closed_after(token_ids)
        if closed is None:
            return len(token_ids) if THINK_OPEN in self._read(token_ids[:_TAIL]) else 0
        return next(
            start for start in range(closed - 1, -1, -1) if THINK_CLOSE in self._read(token_ids[start:closed])
        )

    def _closed_after(self, ids: Sequence[int]) -> int | None:
        """The number of tokens up to and with the closing tag."""
        if THINK_CLOSE not in self._read(ids):
            return None
        return bisect_left(range(len(ids)), True, key=lambda end: THINK_CLOSE in self._read(ids[:end]))

    def _read(self, ids: Sequence[int]) -> str:
        return str(self.model_tokenizer.decode(list(ids)))


ReasoningParserManager.register_module("xreasoner", module=XReasonerParser)
