"""Whatever a client sends: a request that can be answered, or a 4xx in one line."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from xreasoner.serve.api_error import ApiError
from xreasoner.serve.limits import ServerLimits, resolve_options
from xreasoner.serve.request import ChatCompletionRequest, parse_request

LIMITS = ServerLimits(context=1024, exit_tokens=8, think_budget=64, answer_budget=16, temperature=0.0)
FIELDS = st.sampled_from([*ChatCompletionRequest.model_fields, "top_p", "tools", "user", "unknown"])
PARTS = st.sampled_from(
    ["role", "content", "type", "text", "image_url", "url", "user", "assistant", "tool_calls"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | PARTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | PARTS, inner, max_size=4),
    max_leaves=8,
)
QUESTION = {"role": "user", "content": "?"}


def answered_or_refused(encoded: bytes) -> None:
    try:
        options = resolve_options(parse_request(encoded), 20, LIMITS)
    except ApiError as error:
        assert 400 <= error.status < 500 and "\n" not in error.message
        json.dumps(error.body)
        return
    assert 1 <= options.max_tokens <= LIMITS.context
    temperature = options.sampling.temperature
    assert temperature == 0 or 0.01 <= temperature <= 100


@given(st.binary(max_size=100))
@example(b"[" * 100_000)
@example(b'{"messages": [{"role": "user", "content": "\\ud800"}]}')
def test_any_bytes(encoded: bytes) -> None:
    answered_or_refused(encoded)


@given(st.dictionaries(FIELDS, VALUES, max_size=5), st.booleans())
@example({"temperature": 1e308}, True)
@example({"temperature": 1e-45}, True)
@example({"thinking_token_budget": 10**400}, True)
@example({"n": 10**20}, True)
@example({"stop": [""]}, True)
def test_any_fields(fields: dict[str, Any], asks: bool) -> None:
    body = fields | ({"messages": [QUESTION]} if asks else {})
    answered_or_refused(json.dumps(body).encode())
