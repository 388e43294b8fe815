"""A step of the engine that fails costs one request, and not those beside it."""

import json
from collections.abc import Iterator
from itertools import pairwise
from queue import SimpleQueue

import pytest
import torch
from tests.serve.conftest import ANSWER, THOUGHT

from xreasoner.models.load import Loaded
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.serve.engine_loop import ActiveRequest, EngineLoop, Event, RequestFailed, SampleDone, TextSoFar
from xreasoner.serve.limits import ServerLimits, resolve_options
from xreasoner.serve.request import parse_request
from xreasoner.serve.request_tokens import encode_request

LIMITS = ServerLimits(context=200, exit_tokens=8, think_budget=40, answer_budget=16, temperature=0.0)
TEXT = f"{THOUGHT} {ANSWER}"
POISON = "w33"


def asked(loaded: Loaded, question: str, stream: bool = False, n: int = 1) -> ActiveRequest:
    """A request whose `deliver` is the `put` of a queue."""
    body = {"messages": [{"role": "user", "content": question}], "stream": stream, "n": n}
    parsed = parse_request(json.dumps(body).encode())
    prompt = encode_request(parsed, loaded)
    options = resolve_options(parsed, len(prompt.encoded.ids), LIMITS)
    return ActiveRequest(prompt, options, stream, SimpleQueue[Event]().put)


def answers(loaded: Loaded, requests: list[ActiveRequest], rows: int) -> Iterator[list[Event]]:
    """The events of each request, all submitted before the first step."""
    loop = EngineLoop(loaded, rows, LIMITS.context, max_requests=9)
    for request in requests:
        loop.submit(request)
    loop.start()
    for request in requests:
        queue, events = request.deliver.__self__, list[Event]()  # type: ignore[attr-defined]
        while sum(isinstance(one, SampleDone) for one in events) < request.options.sampling.n:
            events.append(queue.get(timeout=60))
            if isinstance(events[-1], RequestFailed):
                break
        yield events
        loop.release(request)
    loop.shut_down()


@pytest.mark.parametrize("rows", [8, 2])
def test_only_the_request_that_makes_a_step_fail_is_lost(
    thinker: Loaded, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    poison, decode = thinker.tokenizer.convert_tokens_to_ids(POISON), Scheduler._decode

    def broken_by_poison(self: Scheduler) -> None:
        if any(poison in slot.prompt_ids for slot in self._slots):
            raise RuntimeError("poisoned")
        decode(self)

    monkeypatch.setattr(Scheduler, "_decode", broken_by_poison)
    questions = ["w10", "w11 w12", POISON, "w13"]
    requests = [asked(thinker, question, n=2 if question == "w10" else 1) for question in questions]
    first, second, poisoned, last = answers(thinker, requests, rows)
    assert [one.text.strip() for one in first if isinstance(one, SampleDone)] == [TEXT] * 2
    assert [one.text.strip() for one in (*second, *last) if isinstance(one, SampleDone)] == [TEXT] * 2
    assert poisoned == [RequestFailed("RuntimeError: poisoned")]


def test_a_client_that_reads_along_notices_no_second_try(
    thinker: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, steps = Scheduler._decode, iter(range(1000))

    def fails_once(self: Scheduler) -> None:
        if next(steps) == 5:
            raise torch.OutOfMemoryError("once")
        decode(self)

    monkeypatch.setattr(Scheduler, "_decode", fails_once)
    requests = [asked(thinker, question, stream=True) for question in ("w10", "w11")]
    for events in answers(thinker, requests, rows=4):
        *pieces, done = events
        assert isinstance(done, SampleDone) and done.text.strip() == TEXT
        texts = [one.text for one in pieces if isinstance(one, TextSoFar)]
        assert len(texts) == len(events) - 1 > 10
        assert all(later.startswith(text) and later != text for text, later in pairwise(texts))
