"""Forced exit, limits and stop strings, exact to the token, on a model whose every word is known."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.serve.conftest import ANSWER, THOUGHT, serving

from xreasoner.models.load import Loaded
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.server_engine.engine import ServerEngine, ServerRollout
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.serve.http_server import HttpServer
from xreasoner.serve.serve_settings import ServeSettings

SETTINGS = ServeSettings("chain", port=0, think_budget=5, answer_budget=8)
WORDS = THOUGHT.split()
NATURAL = len(WORDS) - 1
"""Tokens before the model closes its thought by itself."""


@pytest.fixture(scope="module")
def thinking(thinker: Loaded) -> Iterator[HttpServer]:
    with serving(thinker, SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def ruminating(endless: Loaded) -> Iterator[HttpServer]:
    with serving(endless, SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def rambling(plain: Loaded) -> Iterator[HttpServer]:
    with serving(plain, SETTINGS) as server:
        yield server


def ask(server: HttpServer, **fields: Any) -> Any:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)
    asked = {"model": "chain", "messages": [{"role": "user", "content": "w30"}], "temperature": 0}
    extra = {key: fields.pop(key) for key in list(fields) if key.endswith(("budget", "thought"))}
    return client.chat.completions.create(**asked, **fields, extra_body=extra)


def whole(answer: Any) -> str:
    message = answer.choices[0].message
    thought = message.model_extra["reasoning_content"]
    return (f"<think>{thought}</think>" if thought is not None else "") + (message.content or "")


@pytest.mark.parametrize("budget", [0, 1, 2, 5, NATURAL - 1, NATURAL, NATURAL + 1, 50])
def test_a_budget_is_exact_to_the_token(thinking: HttpServer, budget: int) -> None:
    answer = ask(thinking, thinking_token_budget=budget)
    forced = budget <= NATURAL
    # The opening tag is the thought's first token: with a budget of 0 it is generated and closed at once.
    kept = min(max(budget, 1), NATURAL)
    assert whole(answer).split() == [*WORDS[:kept], "</think>", *ANSWER.split()]
    assert answer.choices[0].model_extra["forced_exit"] is forced
    assert answer.usage.completion_tokens_details.reasoning_tokens == kept
    assert answer.usage.completion_tokens == kept + 1 + len(ANSWER.split()) + 1
    assert answer.choices[0].finish_reason == "stop"


def test_the_servers_default_budget(thinking: HttpServer) -> None:
    assert whole(ask(thinking)).split() == [*WORDS[:5], "</think>", *ANSWER.split()]


def test_a_chat_gets_no_answer_tag_unless_it_asks_for_it(rambling: HttpServer) -> None:
    budgets = {"thinking_token_budget": 3, "answer_token_budget": 8}
    assert "<answer>" not in whole(ask(rambling, **budgets))
    answer = ask(rambling, **budgets, exit_without_thought=True)
    assert whole(answer).split() == ["w1", "w2", "w3", *ANSWER.split()]
    assert answer.choices[0].model_extra["forced_exit"] is True


def test_limits_and_stop_strings(thinking: HttpServer) -> None:
    def summary(answer: Any) -> tuple[str, Any, int, Any]:
        choice = answer.choices[0]
        text = (choice.message.model_extra["reasoning_content"] or "") + (choice.message.content or "")
        stop = choice.model_extra["stop_reason"]
        return text, choice.finish_reason, answer.usage.completion_tokens, stop

    assert summary(ask(thinking, max_tokens=3)) == (" w1 w2", "length", 3, None)
    assert summary(ask(thinking, stop=["w3", "w9"])) == (" w1 w2 ", "stop", 4, "w3")
    assert summary(ask(thinking, stop="w20", max_completion_tokens=9))[1:] == ("stop", 8, "w20")


@pytest.mark.parametrize("exit_by", ["budget", "again", "auto"])
@pytest.mark.parametrize("model", ["thinking", "ruminating", "rambling"])
def test_our_server_engine_on_our_server_equals_the_torch_engine(
    exit_by: str, model: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(model)
    loaded = server.service.loaded
    engine = ServerEngine(ServerSettings(url=f"{server.url}/v1", model="chain", exit_by=exit_by))  # type: ignore[arg-type]
    prompt = Prompt("p", (Message("user", ("w30",)),))
    for think, answer in ((0, 8), (1, 8), (4, 2), (4, 0), (NATURAL, 8), (NATURAL + 5, 8), (30, 1)):
        sampling = Sampling(think_budget=think, answer_budget=answer)
        (expected,) = TorchEngine(loaded).generate([prompt], sampling)
        (found,) = engine.generate([prompt], sampling)
        assert isinstance(found, ServerRollout)
        summary = (found.stop, found.forced_exit, found.think_tokens)
        assert summary == (expected.stop, expected.forced_exit, expected.think_tokens), (think, answer)
        assert found.text.split() == expected.text.split()
        injected = exit_by == "again" and found.forced_exit
        assert found.completion_tokens == len(expected.token_ids) - injected
