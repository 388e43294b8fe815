"""OpenAI's chat protocol: messages to JSON, and completions from it."""

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import Message, Part, Picture

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_MAGIC = {b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


@dataclass(frozen=True)
class Completion:
    """One completion. A server may return the thought separately from the reply."""

    reply: str = ""
    thought: str | None = None
    """None if the server returns no separate thought."""
    cut: bool = False
    """It ended at its token limit, not by itself."""
    stopped_at: str | None = None
    """The stop string that ended it, if the server says so."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int | None = None
    """As counted by the server, if it does."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Thought, tags and reply; equal to the generated text if the server strips nothing."""
        if not self.thought:
            return self.reply
        stripped = self.thought == self.thought.strip()
        thought = f"\n{self.thought}\n" if stripped else self.thought
        if self._is_still_thinking:
            return THINK_OPEN + thought.rstrip("\n")
        gap = "" if self.reply[:1].isspace() else "\n"
        return f"{THINK_OPEN}{thought}{THINK_CLOSE}{gap if stripped else ''}{self.reply}"

    @property
    def _is_still_thinking(self) -> bool:
        wrote_the_tag = self.reasoning_tokens is not None and self.reasoning_tokens < self.completion_tokens
        return self.cut and not self.reply and not wrote_the_tag


def read_completion(response: Any) -> Completion:
    """Raises AttributeError or IndexError if it is not a chat completion."""
    choice, usage = response.choices[0], response.usage
    extra = choice.model_extra or {}
    # `stop_reason` on vLLM and ours, `matched_stop` on SGLang; a number is a stop token.
    stopped_at = extra.get("stop_reason") or extra.get("matched_stop")
    details = getattr(usage, "completion_tokens_details", None)
    return Completion(
        reply=encodable(choice.message.content or ""),
        thought=thought_of(choice.message),
        cut=choice.finish_reason == "length",
        stopped_at=stopped_at if isinstance(stopped_at, str) else None,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        reasoning_tokens=getattr(details, "reasoning_tokens", None),
        extra=extra,
    )


def thought_of(message: Any) -> str | None:
    """Servers use one of two field names."""
    extra = message.model_extra or {}
    found = [extra.get(name) for name in ("reasoning_content", "reasoning")]
    return next((encodable(str(thought)) for thought in found if thought is not None), None)


def encodable(text: str) -> str:
    """JSON can hold half of a surrogate pair, which no file takes: it would end the evaluation."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def thought_tokens(completion: Completion) -> int:
    """As counted by the server, else estimated by the share of characters."""
    if completion.reasoning_tokens:
        return completion.reasoning_tokens
    thought, reply = completion.thought or "", completion.reply
    if not thought and THINK_CLOSE in reply:
        thought, _, reply = reply.partition(THINK_CLOSE)
    everything = len(thought) + len(reply)
    return round(completion.completion_tokens * len(thought) / everything) if everything else 0


def as_message(message: Message) -> Any:
    if all(isinstance(part, str) for part in message.parts):
        return {"role": message.role, "content": "".join(map(str, message.parts))}
    return {"role": message.role, "content": [_as_part(part) for part in message.parts]}


def _as_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Picture):
        return {"type": "image_url", "image_url": {"url": data_url(part)}}
    return {"type": "text", "text": part}


def data_url(picture: Picture) -> str:
    kind = next((kind for magic, kind in _MAGIC.items() if picture.encoded.startswith(magic)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(picture.encoded).decode()}"
