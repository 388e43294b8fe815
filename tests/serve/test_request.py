"""Requests are parsed or rejected; no field is silently ignored."""

import json
from typing import Any

import pytest

from xreasoner.serve.api_error import ApiError
from xreasoner.serve.request import ChatCompletionRequest, parse_request

QUESTION = {"role": "user", "content": "?"}


def read(**fields: Any) -> ChatCompletionRequest:
    return parse_request(json.dumps({"messages": [QUESTION]} | fields).encode())


def refused(encoded: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_request(encoded)
    assert caught.value.status == 400 and "\n" not in caught.value.message
    return caught.value


def test_both_spellings_of_the_limit_and_of_the_budget() -> None:
    assert read(max_tokens=5).token_limit == 5
    assert read(max_tokens=5, max_completion_tokens=7).token_limit == 7
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


def test_fields_without_effect_are_accepted() -> None:
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
def test_invalid_requests(encoded: bytes, code: str) -> None:
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
def test_the_error_names_the_field(fields: dict[str, Any], param: str) -> None:
    error = refused(json.dumps({"messages": [QUESTION]} | fields).encode())
    assert error.param is not None and error.param.startswith(param)
    assert error.body["error"]["type"] == "invalid_request_error"


def test_continuing_needs_an_assistant_message() -> None:
    messages = [QUESTION, {"role": "assistant", "content": "so"}]
    assert read(messages=messages, continue_final_message=True, add_generation_prompt=False).messages
    for fields in (
        {"continue_final_message": True},
        {"messages": messages, "continue_final_message": True, "add_generation_prompt": True},
        {"messages": messages, "add_generation_prompt": False},
        {"stop": ""},
    ):
        refused(json.dumps({"messages": [QUESTION]} | fields).encode())
