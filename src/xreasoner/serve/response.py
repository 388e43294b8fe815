"""OpenAI's JSON for completions, streamed chunks and the list of models."""

import time
from collections.abc import Sequence
from typing import Any

from xreasoner.chat.split_reply import ReplyStart, SplitReply, split_reply
from xreasoner.serve.engine_loop import SampleDone

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


def completion(
    request_id: str, model: str, start: ReplyStart, done: Sequence[SampleDone], prompt_tokens: int
) -> Json:
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(one, start) for one in sorted(done, key=lambda one: one.sample)],
        "usage": usage(done, prompt_tokens),
    }


def _choice(done: SampleDone, start: ReplyStart) -> Json:
    reply = split_reply(done.text, start)
    return {
        "index": done.sample,
        "message": {
            "role": "assistant",
            "content": reply.content or None,
            "reasoning_content": reply.reasoning if reply.has_thought else None,
        },
        "logprobs": None,
        **_finish(done),
    }


def chunk(request_id: str, model: str, choices: list[Json], used: Json | None = None) -> Json:
    return {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        **({"usage": used} if used is not None else {}),
    }


def first_delta(sample: int) -> Json:
    return _delta(sample, {"role": "assistant", "content": ""})


def text_delta(sample: int, new: SplitReply) -> Json:
    texts = {"reasoning_content": new.reasoning, "content": new.content}
    return _delta(sample, {key: text for key, text in texts.items() if text})


def last_delta(done: SampleDone) -> Json:
    return {"index": done.sample, "delta": {}, "logprobs": None, **_finish(done)}


def usage(done: Sequence[SampleDone], prompt_tokens: int) -> Json:
    generated = sum(one.tokens for one in done)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
        "completion_tokens_details": {"reasoning_tokens": sum(one.think_tokens for one in done)},
    }


def _finish(done: SampleDone) -> Json:
    return {"finish_reason": done.reason, "stop_reason": done.stopped_at, "forced_exit": done.forced_exit}


def _delta(sample: int, delta: Json) -> Json:
    return {"index": sample, "delta": delta, "logprobs": None, "finish_reason": None}
