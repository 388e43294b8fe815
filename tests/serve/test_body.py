"""Requests are understood or refused; nothing that was asked for is silently left out."""

import json
from typing import Any

import pytest

from xreasoner.serve.body import ChatBody, read_body
from xreasoner.serve.refusal import RefusalError

QUESTION = {"role": "user", "content": "?"}


def read(**fields: Any) -> ChatBody:
    return read_body(json.dumps({"messages": [QUESTION]} | fields).encode())


def refused(encoded: bytes) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        read_body(encoded)
    assert caught.value.status == 400 and "\n" not in caught.value.message
    return caught.value


def test_both_names_of_the_limit_and_both_places_of_the_budget() -> None:
    assert read(max_tokens=5).most_tokens == 5
    assert read(max_tokens=5, max_completion_tokens=7).most_tokens == 7
    assert read(chat_template_kwargs={"thinking_token_budget": 3}).think_budget == 3
    both = read(thinking_token_budget=0, chat_template_kwargs={"thinking_token_budget": 3})
    assert both.think_budget == 0
    assert read().think_budget is None


def test_stop_is_one_string_or_several() -> None:
    assert (read(stop="a").stops, read(stop=["a", "b"]).stops, read(stop=None).stops) == (
        ("a",),
        ("a", "b"),
        (),
    )


def test_what_changes_nothing_is_let_through() -> None:
    fields = {"user": "u", "metadata": {"a": "b"}, "top_p": 1, "tools": None, "logprobs": False, "top_k": -1}
    assert read(**fields) == read()


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"messages": [], "temperature": NaN}', "invalid_json"),
        (b"{}", "invalid_value"),
    ],
)
def test_what_is_no_request(encoded: bytes, code: str) -> None:
    assert refused(encoded).code == code


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content"),
        ({"messages": [QUESTION, {"role": "assistant", "tool_calls": [{}]}]}, "messages.1.tool_calls"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stop": ["a"] * 100}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"thinking_token_budget": -1}, "thinking_token_budget"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs.enable_thinking"),
        ({"top_p": 0.9}, "top_p"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temprature": 0.5}, "temprature"),
    ],
)
def test_the_field_that_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    refusal = refused(json.dumps({"messages": [QUESTION]} | fields).encode())
    assert refusal.param is not None and refusal.param.startswith(param)
    assert refusal.body["error"]["type"] == "invalid_request_error"


def test_going_on_needs_something_to_go_on_from() -> None:
    begun = [QUESTION, {"role": "assistant", "content": "so"}]
    assert read(messages=begun, continue_final_message=True, add_generation_prompt=False).messages
    for fields in (
        {"continue_final_message": True},
        {"messages": begun, "continue_final_message": True, "add_generation_prompt": True},
        {"messages": begun, "add_generation_prompt": False},
        {"stop": ""},
    ):
        refused(json.dumps({"messages": [QUESTION]} | fields).encode())
