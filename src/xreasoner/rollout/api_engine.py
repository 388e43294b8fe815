"""Any server that speaks OpenAI's chat protocol, asked by many threads at once."""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import Message, Part, Picture, Prompt, Rollout, Sampling

LARGEST_SEED = 2**31


@dataclass(frozen=True)
class Server:
    url: str
    """Up to and with `/v1`."""
    model: str
    key_from: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; servers of one's own need none."""
    concurrency: int = 16
    requests_per_minute: float | None = None
    retries: int = 8
    """Of a request that met a rate limit, a broken connection or an error of the server."""
    seconds: float = 1800.0
    """A request may take so long."""


@dataclass(frozen=True)
class ServerRollout(Rollout):
    """Servers do not give their tokens, but count them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    trouble: str = ""
    """Why the server would not answer this one prompt."""


class Pace:
    """No more requests than so many a minute, evenly spread."""

    def __init__(self, per_minute: float | None) -> None:
        self._between = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._between
        time.sleep(mine - now)


class ApiEngine:
    def __init__(self, server: Server) -> None:
        if find_spec("openai") is None:
            raise ValueError("a server is asked with the openai client: pip install 'xreasoner[api]'")
        import openai

        self._server, self._pace = server, Pace(server.requests_per_minute)
        # The client waits as the server asks, or ever longer, before it tries again.
        self._client = openai.OpenAI(
            base_url=server.url,
            api_key=os.environ.get(server.key_from, "none"),
            max_retries=server.retries,
            timeout=server.seconds,
        )

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        open_requests = ((prompt, sample) for prompt in prompts for sample in range(sampling.n))
        pool = ThreadPoolExecutor(self._server.concurrency)
        try:
            running: set[Future[ServerRollout]] = set()
            while True:
                for prompt, sample in islice(open_requests, self._server.concurrency - len(running)):
                    running.add(pool.submit(self._ask, prompt, sample, sampling))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, prompt: Prompt, sample: int, sampling: Sampling) -> ServerRollout:
        import openai

        self._pace.wait()
        try:
            answered = self._client.chat.completions.create(
                model=self._server.model,
                messages=[as_message(message) for message in prompt.messages],
                temperature=sampling.temperature,
                max_tokens=sampling.think_budget + sampling.answer_budget,
                seed=seed_of(sampling.seed, prompt.id, sample),
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
            return refusal(prompt.id, sample, f"{refused.status_code}: {first_line(refused)}")
        except openai.OpenAIError as error:
            raise ValueError(
                f"{self._server.url}: the server did not answer: {first_line(error)}; "
                "what was answered is kept, run again to go on"
            ) from None
        return to_rollout(prompt.id, sample, answered)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def seed_of(seed: int, prompt_id: str, sample: int) -> int:
    """The same question has the same seed, whatever was asked before it."""
    digest = hashlib.sha256(f"{seed} {prompt_id} {sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % LARGEST_SEED


def as_message(message: Message) -> Any:
    if all(isinstance(part, str) for part in message.parts):
        return {"role": message.role, "content": "".join(map(str, message.parts))}
    return {"role": message.role, "content": [_as_part(part) for part in message.parts]}


def _as_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Picture):
        encoded = base64.b64encode(part.encoded).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    return {"type": "text", "text": part}


def to_rollout(prompt_id: str, sample: int, answered: Any) -> ServerRollout:
    choice, usage = answered.choices[0], answered.usage
    thought, reply = thought_of(choice.message), choice.message.content or ""
    completion_tokens = usage.completion_tokens if usage else 0
    return ServerRollout(
        prompt_id=prompt_id,
        sample=sample,
        prompt_ids=(),
        token_ids=(),
        by_policy=(),
        logprobs=(),
        text=f"{THINK_OPEN}\n{thought.strip()}\n{THINK_CLOSE}\n{reply.strip()}" if thought else reply,
        stop="length" if choice.finish_reason == "length" else "eos",
        forced_exit=False,
        think_tokens=thought_tokens(usage, thought, reply),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=completion_tokens,
    )


def thought_of(message: Any) -> str:
    """Where the server keeps the thought apart; it has two names."""
    extra = message.model_extra or {}
    return str(extra.get("reasoning_content") or extra.get("reasoning") or "")


def thought_tokens(usage: Any, thought: str, reply: str) -> int:
    """As the server counts them; else by the share of characters."""
    details = getattr(usage, "completion_tokens_details", None)
    counted = getattr(details, "reasoning_tokens", None)
    if counted:
        return int(counted)
    if not thought:
        opened, _, rest = reply.partition(THINK_CLOSE)
        thought, reply = (opened, rest) if THINK_CLOSE in reply else ("", reply)
    everything = len(thought) + len(reply)
    return round(usage.completion_tokens * len(thought) / everything) if usage and everything else 0


def refusal(prompt_id: str, sample: int, trouble: str) -> ServerRollout:
    return ServerRollout(
        prompt_id, sample, (), (), (), (), "", "eos", forced_exit=False, think_tokens=0, trouble=trouble
    )
