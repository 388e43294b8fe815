"""`xreasoner serve` on vLLM: thought and answer come apart, and end where the torch engine ends them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import openai
import pytest
from tests.serve.conftest import ANSWER, THOUGHT, chain_model

from xreasoner.models.load import Loaded
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.api_engine import ApiEngine, Server
from xreasoner.rollout.torch_engine import TorchEngine
from xreasoner.rollout.vllm_transfer import free_port

OPTIONS = "--dtype float32 --enforce-eager --max-num-seqs 8 --kv-cache-memory-bytes 67108864"
PATIENCE = 300
NATURAL = len(THOUGHT.split()) - 1


@pytest.fixture(scope="module")
def thinker() -> Loaded:
    return chain_model(f"{THOUGHT} {ANSWER} <|im_end|>")


@pytest.fixture(scope="module")
def url(thinker: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    checkpoint = folder / "chain"
    thinker.model.save_pretrained(checkpoint)
    thinker.tokenizer.save_pretrained(checkpoint)
    command = f"{sys.executable} -m xreasoner serve {checkpoint} --engine vllm --port {port} -- {OPTIONS}"
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command.split(), stdout=log, stderr=log, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def wait_for(health: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            urlopen(health, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(1)


@pytest.mark.parametrize("budget", [0, 1, 4, NATURAL - 1, NATURAL, NATURAL + 1, 30])
def test_a_thought_ends_from_outside_where_the_torch_engine_ends_it(
    url: str, thinker: Loaded, budget: int
) -> None:
    engine = ApiEngine(Server(url, "chain", exit_by="auto"))
    assert engine.exit_by == "again"
    prompt = Prompt("p", (Message("user", ("w30",)),))
    for answer in (8, 1, 0):
        sampling = Sampling(think_budget=budget, answer_budget=answer)
        (expected,) = TorchEngine(thinker).generate([prompt], sampling)
        (found,) = engine.generate([prompt], sampling)
        assert found.text.split() == expected.text.split()
        assert (found.stop, found.forced_exit) == (expected.stop, expected.forced_exit)
        assert found.think_tokens == expected.think_tokens


def test_thought_and_answer_come_apart_whole_and_streamed(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    asked = {"model": "chain", "messages": [{"role": "user", "content": "w30"}], "temperature": 0}
    message = client.chat.completions.create(**asked).choices[0].message  # type: ignore[call-overload]
    inside = THOUGHT.removeprefix("<think>").removesuffix("</think>")
    assert (message.model_extra["reasoning"], message.content.strip()) == (inside, ANSWER)
    pieces = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]  # type: ignore[call-overload]
    assert "".join((piece.model_extra or {}).get("reasoning") or "" for piece in pieces) == inside
    assert "".join(piece.content or "" for piece in pieces).strip() == ANSWER


def test_its_own_budget_counts_from_after_the_tag(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    answer = client.chat.completions.create(
        model="chain",
        messages=[{"role": "user", "content": "w30"}],
        temperature=0,
        extra_body={"thinking_token_budget": 3},
    )
    assert answer.choices[0].message.model_extra["reasoning"].split() == ["w1", "w2", "w3"]
    assert answer.choices[0].message.content.strip() == ANSWER
