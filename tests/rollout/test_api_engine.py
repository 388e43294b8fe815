"""The engine behind a server, against a real HTTP server."""

import time

import pytest
from tests.rollout.chat_server import Body, Said, serving

from xreasoner.records import Message, Picture, Prompt, Sampling
from xreasoner.rollout.api_client import Pace
from xreasoner.rollout.api_engine import ApiEngine, Server, ServerRollout

SAMPLING = Sampling(n=2, temperature=0.5, think_budget=50, answer_budget=7, seed=3)


def prompt(text: str) -> Prompt:
    return Prompt(text, (Message("system", ("Think.",)), Message("user", (text,))))


def ask(url: str, *texts: str, sampling: Sampling = SAMPLING, **server: object) -> list[ServerRollout]:
    engine = ApiEngine(Server(url, "teacher", **server))  # type: ignore[arg-type]
    rollouts = list(engine.generate([prompt(text) for text in texts], sampling))
    assert all(isinstance(rollout, ServerRollout) for rollout in rollouts)
    return sorted(rollouts, key=lambda r: (r.prompt_id, r.sample))  # type: ignore[return-value]


def echo(body: Body) -> Said:
    return Said(f"<think>\nhm\n</think>\n{body['messages'][-1]['content']}")


def test_what_is_asked_and_what_comes_back() -> None:
    with serving(echo) as server:
        rollouts = ask(server.url, "one", "two")
    assert [(r.prompt_id, r.sample, r.text) for r in rollouts] == [
        (text, sample, f"<think>\nhm\n</think>\n{text}") for text in ("one", "two") for sample in (0, 1)
    ]
    assert {r.stop for r in rollouts} == {"eos"}
    assert (rollouts[0].prompt_tokens, rollouts[0].completion_tokens) == (10, 4)
    body = next(body for body in server.asked if body["messages"][-1]["content"] == "one")
    assert body["messages"][0] == {"role": "system", "content": "Think."}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("teacher", 0.5, 57)
    assert len({body["seed"] for body in server.asked}) == 4


def test_seeds_depend_on_the_question_alone() -> None:
    with serving(echo) as server:
        ask(server.url, "one", "two")
        ask(server.url, "two")
    seeds = [body["seed"] for body in server.asked if body["messages"][-1]["content"] == "two"]
    assert sorted(seeds[:2]) == sorted(seeds[2:])


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_a_thought_that_comes_apart_is_put_between_tags(key: str) -> None:
    with serving(lambda body: Said("It is 4.", "Two and two.", reasoning_key=key)) as server:
        (rollout, _) = ask(server.url, "2 + 2?")
    assert rollout.text == "<think>\nTwo and two.\n</think>\nIt is 4."
    # 6 tokens for 20 characters, of which the thought has 12.
    assert (rollout.completion_tokens, rollout.think_tokens) == (6, 4)


def test_the_servers_own_count_of_thought_is_taken() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 90,
        "total_tokens": 95,
        "completion_tokens_details": {"reasoning_tokens": 80},
    }
    with serving(lambda body: Said("4", "long", usage=usage, finish="length")) as server:
        (rollout, _) = ask(server.url, "2 + 2?")
    assert (rollout.think_tokens, rollout.completion_tokens, rollout.stop) == (80, 90, "length")


def test_rate_limits_and_broken_servers_are_tried_again_as_they_ask() -> None:
    failing = [Said("slow down", status=429, headers={"Retry-After": "0.3"}), Said("oops", status=500)]

    def says(body: Body) -> Said:
        return failing.pop(0) if failing else echo(body)

    began = time.monotonic()
    with serving(says) as server:
        (rollout,) = ask(server.url, "one", sampling=Sampling(temperature=0.5), concurrency=1)
    assert rollout.text.endswith("one")
    assert len(server.asked) == 3
    assert time.monotonic() - began >= 0.3


def test_a_prompt_the_server_refuses_does_not_stop_the_others() -> None:
    def says(body: Body) -> Said:
        return Said("too long", status=400) if body["messages"][-1]["content"] == "bad" else echo(body)

    with serving(says) as server:
        bad, good = ask(server.url, "bad", "good", sampling=Sampling(temperature=0.5))
    assert (bad.text, bad.trouble[:4]) == ("", "400:")
    assert good.trouble == ""


def test_a_server_that_shuts_us_out_is_one_line() -> None:
    with (
        serving(lambda body: Said("who are you", status=401)) as server,
        pytest.raises(ValueError, match=r"the server did not answer: .*401.*run again to go on") as caught,
    ):
        ask(server.url, "one")
    assert "\n" not in str(caught.value)
    assert len(server.asked) <= 4


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ValueError, match="the server did not answer"):
        ask("http://127.0.0.1:9/v1", "one", retries=0)


def test_many_are_asked_at_once_but_no_more_than_allowed() -> None:
    texts = [str(i) for i in range(12)]
    with serving(echo, seconds=0.05) as server:
        ask(server.url, *texts, sampling=Sampling(temperature=0.5), concurrency=4)
    assert server.most_at_once == 4
    assert len(server.asked) == 12


def test_requests_keep_their_pace() -> None:
    pace, began = Pace(per_minute=1200), time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - began >= 4 * 0.05
    began = time.monotonic()
    for _ in range(1000):
        Pace(None).wait()
    assert time.monotonic() - began < 1


def test_the_key_comes_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    with serving(echo) as server:
        ask(server.url, "one", key_from="MY_KEY")
    assert set(server.keys) == {"Bearer secret-1"}


def test_pictures_travel_as_data() -> None:
    seen = Prompt("p", (Message("user", (Picture(b"\x89PNG"), "what?")),))
    with serving(lambda body: Said("a cat")) as server:
        list(ApiEngine(Server(server.url, "t")).generate([seen], Sampling()))
    (image, text) = server.asked[0]["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert text == {"type": "text", "text": "what?"}
