"""What goes back over the wire: completions, chunks of them, and lists of models."""

import time
from collections.abc import Sequence
from typing import Any

from xreasoner.chat.apart import Apart, Begins, take_apart
from xreasoner.serve.desk import Done

OWNER = "xreasoner"
Json = dict[str, Any]


def model_list(name: str, context: int, created: int) -> Json:
    model = {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "max_model_len": context,
    }
    return {"object": "list", "data": [model]}


def completion(name: str, model: str, start: Begins, done: Sequence[Done], prompt_tokens: int) -> Json:
    return {
        "id": name,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(one, start) for one in sorted(done, key=lambda one: one.sample)],
        "usage": usage(done, prompt_tokens),
    }


def _choice(done: Done, start: Begins) -> Json:
    apart = take_apart(done.text, start)
    return {
        "index": done.sample,
        "message": {
            "role": "assistant",
            "content": apart.content or None,
            "reasoning_content": apart.reasoning if apart.thinks else None,
        },
        "logprobs": None,
        **_ending(done),
    }


def chunk(name: str, model: str, choices: list[Json], used: Json | None = None) -> Json:
    return {
        "id": name,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        **({"usage": used} if used is not None else {}),
    }


def opening(sample: int) -> Json:
    return _delta(sample, {"role": "assistant", "content": ""})


def piece(sample: int, new: Apart) -> Json:
    texts = {"reasoning_content": new.reasoning, "content": new.content}
    return _delta(sample, {key: text for key, text in texts.items() if text})


def ending(done: Done) -> Json:
    return {"index": done.sample, "delta": {}, "logprobs": None, **_ending(done)}


def usage(done: Sequence[Done], prompt_tokens: int) -> Json:
    written = sum(one.tokens for one in done)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
        "completion_tokens_details": {"reasoning_tokens": sum(one.think_tokens for one in done)},
    }


def _ending(done: Done) -> Json:
    return {"finish_reason": done.reason, "stop_reason": done.stopped_at, "forced_exit": done.forced_exit}


def _delta(sample: int, delta: Json) -> Json:
    return {"index": sample, "delta": delta, "logprobs": None, "finish_reason": None}
