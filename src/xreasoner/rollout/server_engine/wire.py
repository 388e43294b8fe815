"""OpenAI's chat protocol: messages as they are sent, and what stands in a completion."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import Message, Part, Picture

LARGEST_SEED = 2**31
_MAGIC = {b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


@dataclass(frozen=True)
class Said:
    """One completion. A server may keep the thought apart from the reply."""

    reply: str = ""
    thought: str | None = None
    """None where the server knows of none."""
    cut: bool = False
    """It ended because it was long enough, not because it was done."""
    stopped_at: str | None = None
    """The stop string it ended before, where the server tells."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int | None = None
    """As the server counts them."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """With the tags, and byte for byte what was generated where the server strips nothing."""
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


def read_completion(answered: Any) -> Said:
    """Raises AttributeError or IndexError where it is none."""
    choice, usage = answered.choices[0], answered.usage
    extra = choice.model_extra or {}
    # vLLM and ours call it stop_reason, SGLang matched_stop; a number there is a token.
    stopped_at = extra.get("stop_reason") or extra.get("matched_stop")
    details = getattr(usage, "completion_tokens_details", None)
    return Said(
        reply=choice.message.content or "",
        thought=thought_of(choice.message),
        cut=choice.finish_reason == "length",
        stopped_at=stopped_at if isinstance(stopped_at, str) else None,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        reasoning_tokens=getattr(details, "reasoning_tokens", None),
        extra=extra,
    )


def thought_of(message: Any) -> str | None:
    """It has two names."""
    extra = message.model_extra or {}
    found = [extra.get(name) for name in ("reasoning_content", "reasoning")]
    return next((str(thought) for thought in found if thought is not None), None)


def thought_tokens(said: Said) -> int:
    """As the server counts them; else by the share of characters."""
    if said.reasoning_tokens:
        return said.reasoning_tokens
    thought, reply = said.thought or "", said.reply
    if not thought and THINK_CLOSE in reply:
        thought, _, reply = reply.partition(THINK_CLOSE)
    everything = len(thought) + len(reply)
    return round(said.completion_tokens * len(thought) / everything) if everything else 0


def seed_of(seed: int, prompt_id: str, sample: int, leg: int = 0) -> int:
    """The same question has the same seed, whatever was asked before it."""
    name = f"{seed} {prompt_id} {sample}" + (f" {leg}" if leg else "")
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % LARGEST_SEED


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
