"""The server with OpenAI's own client: text and images, whole and streamed."""

import threading
import time
from typing import Any

import openai
import pytest

from xreasoner.chat.template import problem_prompt
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import Loaded
from xreasoner.records import Problem, Rollout, Sampling
from xreasoner.rollout.server_engine.chat_protocol import as_message
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.serve.http_server import HttpServer

VIEWS = ("text", "image")


def problem_of(view: str, number: int = 0) -> Problem:
    return make_problems("sums", view, (1, 3), 4, "test", 5)[number]  # type: ignore[arg-type]


def messages_of(problem: Problem) -> list[Any]:
    return [as_message(message) for message in problem_prompt(problem, None).messages]


def in_process(loaded: Loaded, problem: Problem, **sampling: Any) -> Rollout:
    """As the server would with its own budgets, or with those given."""
    wanted = Sampling(**{"think_budget": 64, "answer_budget": 16} | sampling)
    (rollout,) = TorchEngine(loaded).generate([problem_prompt(problem, None)], wanted)
    return rollout


def parts_of(answer: Any) -> tuple[str | None, str | None]:
    message = answer.choices[0].message
    return message.model_extra["reasoning_content"], message.content


@pytest.mark.parametrize("view", VIEWS)
def test_the_answer_equals_the_engines(client: openai.OpenAI, miniworld: Loaded, view: str) -> None:
    problem = problem_of(view)
    answer = client.chat.completions.create(model="mini", messages=messages_of(problem), temperature=0)
    expected = in_process(miniworld, problem)
    thought, reply = parts_of(answer)
    text = f"<think>{thought}</think>{reply or ''}" if thought else reply
    assert text == expected.text
    choice, usage = answer.choices[0], answer.usage
    assert choice.finish_reason == ("stop" if expected.stop == "eos" else "length")
    assert usage.prompt_tokens == len(expected.prompt_ids)
    assert usage.completion_tokens == len(expected.token_ids)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details.reasoning_tokens == expected.think_tokens


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 1.0, "n": 3, "seed": 7}])
def test_the_stream_adds_up_to_the_whole(client: openai.OpenAI, view: str, sampling: Any) -> None:
    asked = {"model": "mini", "messages": messages_of(problem_of(view)), **sampling}
    whole = client.chat.completions.create(**asked)
    counting = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**asked, **counting))
    texts = {choice.index: ["", ""] for choice in whole.choices}
    reasons = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index][0] += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            texts[choice.index][1] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    for choice in whole.choices:
        thought = choice.message.model_extra["reasoning_content"]
        assert texts[choice.index] == [thought or "", choice.message.content or ""]
        assert reasons[choice.index] == choice.finish_reason
    assert chunks[-1].usage == whole.usage and len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > len(whole.choices) * 3


def test_equal_seeds_give_equal_answers(client: openai.OpenAI) -> None:
    def text(**seed: int) -> str | None:
        messages = messages_of(problem_of("text"))
        asked = {"model": "mini", "messages": messages, "temperature": 8.0, "max_tokens": 12}
        answer = client.chat.completions.create(**asked, **seed)  # type: ignore[call-overload]
        return answer.choices[0].message.content

    assert text(seed=1) == text(seed=1)
    assert len({text(), text(), text(seed=1), text(seed=2)}) == 4


def test_a_message_is_continued(client: openai.OpenAI, miniworld: Loaded) -> None:
    """Given the first words of its answer, the model writes the rest of it."""
    problem = problem_of("text", 2)
    whole = in_process(miniworld, problem)
    words = whole.text.split(" ")
    prefix = " ".join(words[: len(words) // 2])
    answer = client.chat.completions.create(
        model="mini",
        messages=[*messages_of(problem), {"role": "assistant", "content": prefix}],
        temperature=0,
        extra_body={"continue_final_message": True, "add_generation_prompt": False},
    )
    rest = "".join(part or "" for part in parts_of(answer)).replace("</think>", "")
    assert rest.split() == whole.text[len(prefix) :].replace("</think>", "").split()


def test_concurrent_requests_get_the_same_answers(client: openai.OpenAI, miniworld: Loaded) -> None:
    problems = [problem_of(view, number) for number in range(4) for view in VIEWS]
    answers: dict[str, str] = {}

    def ask(problem: Problem) -> None:
        messages = messages_of(problem)
        answer = client.chat.completions.create(model="mini", messages=messages, temperature=0)
        thought, reply = parts_of(answer)
        answers[problem.id] = f"<think>{thought}</think>{reply or ''}" if thought else reply or ""

    threads = [threading.Thread(target=ask, args=(problem,)) for problem in problems]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {problem.id: in_process(miniworld, problem).text for problem in problems}


def test_a_disconnected_client_frees_its_rows(client: openai.OpenAI, server: HttpServer) -> None:
    """During a stream and while waiting for the whole answer."""
    engine_loop = server.service.engine_loop
    endless: dict[str, Any] = {
        "model": "mini",
        "messages": messages_of(problem_of("text")),
        "temperature": 30.0,
        "max_tokens": 900,
        "n": 4,
    }
    with client.chat.completions.create(**endless, stream=True) as stream:
        next(iter(stream))
        assert engine_loop.request_count == 1
    wait_until(lambda: engine_loop.request_count == 0 and engine_loop.rows_in_use == 0)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(**endless)
    wait_until(lambda: engine_loop.request_count == 0 and engine_loop.rows_in_use == 0)


def wait_until(true: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == ("mini", "xreasoner")
    assert client.models.retrieve("mini").id == "mini"
