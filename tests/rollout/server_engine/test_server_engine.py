"""The server engine against a real HTTP server."""

import pytest
from tests.rollout.chat_server import Body, ServerReply, serving

from xreasoner.parallel import free_port
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Message, Picture, Prompt, Sampling
from xreasoner.rollout.server_engine.chat_protocol import data_url
from xreasoner.rollout.server_engine.engine import ServerEngine, ServerRollout

SAMPLING = Sampling(n=2, temperature=0.5, think_budget=50, answer_budget=7, seed=3)


def prompt(text: str) -> Prompt:
    return Prompt(text, (Message("system", ("Think.",)), Message("user", (text,))))


def engine_of(url: str | tuple[str, ...], **settings: object) -> ServerEngine:
    return ServerEngine(ServerSettings(url=url, model="teacher", **({"exit_by": "limit"} | settings)))  # type: ignore[arg-type]


def ask(
    url: str | tuple[str, ...], *texts: str, sampling: Sampling = SAMPLING, **settings: object
) -> list[ServerRollout]:
    engine = engine_of(url, **settings)
    rollouts = list(engine.generate([prompt(text) for text in texts], sampling))
    assert all(isinstance(rollout, ServerRollout) for rollout in rollouts)
    return sorted(rollouts, key=lambda r: (r.prompt_id, r.sample))  # type: ignore[return-value]


def echo(body: Body) -> ServerReply:
    return ServerReply(f"<think>\nhm\n</think>\n{body['messages'][-1]['content']}")


def test_request_and_rollout() -> None:
    with serving(echo) as server:
        rollouts = ask(server.url, "one", "two")
    assert [(r.prompt_id, r.sample, r.text) for r in rollouts] == [
        (text, sample, f"<think>\nhm\n</think>\n{text}") for text in ("one", "two") for sample in (0, 1)
    ]
    assert {r.stop for r in rollouts} == {"eos"}
    assert (rollouts[0].prompt_tokens, rollouts[0].completion_tokens) == (10, 4)
    body = next(body for body in server.requests if body["messages"][-1]["content"] == "one")
    assert body["messages"][0] == {"role": "system", "content": "Think."}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("teacher", 0.5, 57)
    assert len({body["seed"] for body in server.requests}) == 4


def test_several_servers_share_the_questions() -> None:
    """In turn; all samples of a question, and their continuations, go to the same server."""
    texts = [f"question {i}" for i in range(5)]
    with serving(echo) as first, serving(echo) as second, serving(echo) as alone:
        both = ask((first.url, second.url), *texts)
        assert ask(alone.url, *texts) == both
    asked = [[body["messages"][-1]["content"] for body in server.requests] for server in (first, second)]
    assert sorted(asked[0]) == sorted(2 * [texts[0], texts[2], texts[4]])
    assert sorted(asked[1]) == sorted(2 * [texts[1], texts[3]])


def test_of_several_servers_the_silent_one_is_named() -> None:
    down = f"http://127.0.0.1:{free_port()}/v1"
    with serving(echo) as up, pytest.raises(ValueError, match=f"^{down}: the server did not answer"):
        ask((up.url, down), *"abcdef", retries=0, concurrency=1)


def test_half_a_surrogate_pair_in_a_reply_can_be_written_down() -> None:
    with serving(lambda body: ServerReply("a\ud83d b", "hm\ude00")) as server:
        (rollout,) = ask(server.url, "one", sampling=Sampling(think_budget=50, answer_budget=7))
    assert rollout.text.encode() and "a\ufffd b" in rollout.text and "hm\ufffd" in rollout.text


def test_seeds_depend_only_on_the_question() -> None:
    with serving(echo) as server:
        ask(server.url, "one", "two")
        ask(server.url, "two")
    seeds = [body["seed"] for body in server.requests if body["messages"][-1]["content"] == "two"]
    assert sorted(seeds[:2]) == sorted(seeds[2:])


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_a_separate_thought_is_put_between_tags(key: str) -> None:
    with serving(lambda body: ServerReply("It is 4.", "Two and two.", reasoning_key=key)) as server:
        (rollout, _) = ask(server.url, "2 + 2?")
    assert rollout.text == "<think>\nTwo and two.\n</think>\nIt is 4."
    # 6 tokens for 20 characters, of which the thought has 12.
    assert (rollout.completion_tokens, rollout.think_tokens) == (6, 4)


def test_the_servers_own_count_of_reasoning_tokens_is_used() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 90,
        "total_tokens": 95,
        "completion_tokens_details": {"reasoning_tokens": 80},
    }
    with serving(lambda body: ServerReply("4", "long", usage=usage, finish="length")) as server:
        (rollout, _) = ask(server.url, "2 + 2?")
    assert (rollout.think_tokens, rollout.completion_tokens, rollout.stop) == (80, 90, "length")


def test_a_rejected_prompt_does_not_stop_the_others() -> None:
    def says(body: Body) -> ServerReply:
        return ServerReply("too long", status=400) if body["messages"][-1]["content"] == "bad" else echo(body)

    with serving(says) as server:
        bad, good = ask(server.url, "bad", "good", sampling=Sampling(temperature=0.5))
    assert (bad.text, bad.trouble[:4]) == ("", "400:")
    assert good.trouble == ""


def test_a_rejected_key_is_one_line() -> None:
    with (
        serving(lambda body: ServerReply("who are you", status=401)) as server,
        pytest.raises(ValueError, match=r"the server did not answer: .*401.*run again to resume") as caught,
    ):
        ask(server.url, "one")
    assert "\n" not in str(caught.value)
    assert len(server.requests) <= 4


def test_an_unreachable_server_is_one_line() -> None:
    with pytest.raises(ValueError, match="the server did not answer"):
        ask("http://127.0.0.1:9/v1", "one", retries=0)


def test_requests_are_concurrent_up_to_the_limit() -> None:
    texts = [str(i) for i in range(12)]
    with serving(echo, seconds=0.05) as server:
        ask(server.url, *texts, sampling=Sampling(temperature=0.5), concurrency=4)
    assert server.most_at_once == 4
    assert len(server.requests) == 12


def test_images_are_sent_as_data_urls() -> None:
    seen = Prompt("p", (Message("user", (Picture(b"\x89PNG"), "what?")),))
    with serving(lambda body: ServerReply("a cat")) as server:
        list(engine_of(server.url).generate([seen], Sampling()))
    (image, text) = server.requests[0]["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert text == {"type": "text", "text": "what?"}


@pytest.mark.parametrize(("magic", "kind"), [(b"\xff\xd8\xff", "jpeg"), (b"GIF89a", "gif"), (b"?", "png")])
def test_data_urls_name_the_image_format(magic: bytes, kind: str) -> None:
    assert data_url(Picture(magic)).startswith(f"data:image/{kind};base64,")


def test_an_unanswered_sample_comes_last() -> None:
    def says(body: Body) -> ServerReply:
        broken = body["messages"][-1]["content"] == "1"
        return ServerReply("overloaded", status=503) if broken else echo(body)

    with serving(says) as server:
        engine = ServerEngine(
            ServerSettings(url=server.url, model="teacher", concurrency=1, retries=0, exit_by="limit")
        )
        found = list(engine.generate([prompt(str(i)) for i in range(4)], Sampling(temperature=0.5)))
    assert [rollout.prompt_id for rollout in found] == ["0", "2", "3", "1"]
    assert [(rollout.trouble[:4], rollout.unanswered) for rollout in found] == [("", False)] * 3 + [
        ("503:", True)
    ]


def test_a_server_that_dies_stops_the_run_and_records_no_failures() -> None:
    alive = [True, True]

    def says(body: Body) -> ServerReply:
        return echo(body) if alive and alive.pop() else ServerReply("gone", status=502)

    found = []
    with serving(says) as server, pytest.raises(ValueError, match="the server did not answer: 502"):
        engine = ServerEngine(
            ServerSettings(url=server.url, model="teacher", concurrency=1, retries=0, exit_by="limit")
        )
        for rollout in engine.generate([prompt(str(i)) for i in range(9)], Sampling(temperature=0.5)):
            found.append(rollout.prompt_id)
    assert found == ["0", "1"]


@pytest.mark.parametrize(
    ("owner", "way"), [("xreasoner", "budget"), ("vllm", "again"), ("someone", "limit"), ("", "limit")]
)
def test_auto_decides_by_the_kind_of_server(owner: str, way: str) -> None:
    with serving(echo) as server:
        server.owner = owner
        assert ServerEngine(ServerSettings(url=server.url, model="teacher", exit_by="auto")).exit_by == way


def test_the_servers_own_budget_and_its_forced_exit_flag() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    usage["completion_tokens_details"] = {"reasoning_tokens": 6}  # type: ignore[assignment]
    for extra, forced in (({"forced_exit": False}, False), ({"forced_exit": True}, True), ({}, True)):
        with serving(lambda body: ServerReply("\n4", "\nlong\n", usage=usage, extra=extra)) as server:  # noqa: B023
            sampling = Sampling(think_budget=6, answer_budget=5)
            (rollout,) = ask(server.url, "2 + 2?", sampling=sampling, exit_by="budget")
        assert (rollout.forced_exit, rollout.think_tokens) == (forced, 6)
        assert rollout.text == "<think>\nlong\n</think>\n4"
    (body,) = server.requests
    assert (body["thinking_token_budget"], body["answer_token_budget"]) == (6, 5)
    assert body["exit_without_thought"] is True
    assert body["max_tokens"] >= 6 + 5


def test_a_cut_thought_stays_open() -> None:
    with serving(lambda body: ServerReply("", "Two and", finish="length")) as server:
        (rollout, _) = ask(server.url, "2 + 2?")
    assert rollout.text == "<think>\nTwo and"
