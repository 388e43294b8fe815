"""A VLM served by `xreasoner serve` on vLLM: images, banned tokens, invalid requests."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import openai
import pytest
from tests.vllm.conftest import draw_picture
from tests.vllm.test_serve import served

from xreasoner.records import Message, Picture, Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine

NAME = "tiny"
PICTURE = draw_picture(3, 2, 5)
LENGTH = 24


@pytest.fixture(scope="module")
def url(vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(vlm, tmp_path_factory.mktemp("serve") / "log", NAME) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)


def shown(picture: Picture) -> dict[str, Any]:
    encoded = base64.b64encode(picture.encoded).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


def body(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    asked = [*content, {"type": "text", "text": "5 + 6"}]
    return {"model": NAME, "messages": [{"role": "user", "content": asked}], "max_tokens": LENGTH} | fields


def tokens_of(choice: Any) -> list[int]:
    return choice.model_extra.get("token_ids") or []


def test_an_image_is_read_as_on_the_torch_engine(client: openai.OpenAI, vlm_torch: TorchEngine) -> None:
    greedy = Sampling(think_budget=0, answer_budget=LENGTH, forced_exit=False)
    (expected,) = vlm_torch.generate([Prompt("p", (Message("user", (PICTURE, "5 + 6")),))], greedy)
    asked = body(shown(PICTURE), temperature=0) | {"extra_body": {"return_token_ids": True}}
    whole = client.chat.completions.create(**asked)
    assert whole.usage is not None and whole.usage.prompt_tokens == len(expected.prompt_ids)
    assert tuple(tokens_of(whole.choices[0])) == expected.token_ids
    pieces = client.chat.completions.create(**asked, stream=True)
    streamed = [token for piece in pieces for choice in piece.choices for token in tokens_of(choice)]
    assert tuple(streamed) == expected.token_ids


def test_vision_tokens_are_never_sampled(client: openai.OpenAI, vlm_torch: TorchEngine) -> None:
    """A random model would otherwise sample one every few tokens."""
    answers = client.chat.completions.create(
        **body(shown(PICTURE), n=64, temperature=2.0, seed=1), extra_body={"return_token_ids": True}
    )
    sampled = [token for choice in answers.choices for token in tokens_of(choice)]
    assert len(sampled) > 500
    assert not vlm_torch.special_tokens.banned.intersection(sampled)


BROKEN = {
    "no JSON": b"{",
    "no messages": json.dumps({"model": NAME}).encode(),
    "an invalid role": json.dumps({"model": NAME, "messages": [{"role": 7, "content": "x"}]}).encode(),
    "another model": json.dumps(body(model="gpt-5")).encode(),
    "a negative limit": json.dumps(body(max_tokens=-1)).encode(),
    "an answer too long": json.dumps(body(max_tokens=5000)).encode(),
    "a prompt too long": json.dumps(body({"type": "text", "text": "1 + " * 2000})).encode(),
    "too many pictures": json.dumps(body(*[shown(PICTURE)] * 17)).encode(),
    "no picture": json.dumps(body(shown(Picture(b"hello")))).encode(),
    "a broken picture": json.dumps(body(shown(Picture(PICTURE.encoded[:60])))).encode(),
    "a temperature in words": json.dumps(body(temperature="hot")).encode(),
}


@pytest.mark.parametrize("encoded", BROKEN.values(), ids=BROKEN)
def test_an_invalid_request_fails_alone(url: str, client: openai.OpenAI, encoded: bytes) -> None:
    request = Request(f"{url}/chat/completions", encoded, {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=60)
    assert 400 <= refused.value.code < 500
    assert client.chat.completions.create(**body(shown(PICTURE))).choices


def test_many_long_prompts_with_seeds_do_not_crash_the_server(url: str) -> None:
    """With chunked prefill they would: on a CPU vLLM cannot undo a seeded draw."""
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)
    prompts = [" + ".join(str((i * j) % 10) for j in range(150)) for i in range(3, 23)]
    answers = client.completions.create(model=NAME, prompt=prompts, max_tokens=3, temperature=1.0, seed=2)
    assert len(answers.choices) == len(prompts)
    assert answers.usage is not None and answers.usage.prompt_tokens > 2 * 2048
