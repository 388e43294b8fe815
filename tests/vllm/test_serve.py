"""`xreasoner serve` on vLLM: thought and answer are separate, and end where the torch engine ends them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from tests.distill.test_distill import run, settings, thoughts
from tests.serve.conftest import ANSWER, THOUGHT, chain_model
from tests.vllm.servers import running

from xreasoner.models.load import Loaded
from xreasoner.parallel import free_port
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.server_engine.engine import ServerEngine
from xreasoner.rollout.torch_engine.engine import TorchEngine

OPTIONS = "--dtype float32 --max-num-seqs 32"
GREEDY = {"samples": 1, "temperature": 0.0, "answer_budget": 8}
NATURAL = len(THOUGHT.split()) - 1


@pytest.fixture(scope="module")
def thinker() -> Loaded:
    return chain_model(f"{THOUGHT} {ANSWER} <|im_end|>")


@contextmanager
def served(checkpoint: Path, log: Path, name: str) -> Iterator[str]:
    port = free_port()
    command = f"{sys.executable} -m xreasoner serve {checkpoint} --name {name} --engine vllm --port {port}"
    command += f" -- {OPTIONS}"
    with running(command.split(), port, log, {}) as url:
        yield url


@pytest.fixture(scope="module")
def url(thinker: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    thinker.model.save_pretrained(folder / "chain")
    thinker.tokenizer.save_pretrained(folder / "chain")
    with served(folder / "chain", folder / "log", "chain") as address:
        yield address


@pytest.mark.parametrize("budget", [0, 1, 4, NATURAL - 1, NATURAL, NATURAL + 1, 30])
def test_the_forced_exit_is_at_the_torch_engines_token(url: str, thinker: Loaded, budget: int) -> None:
    engine = ServerEngine(ServerSettings(url=url, model="chain", exit_by="auto"))
    assert engine.exit_by == "again"
    prompt = Prompt("p", (Message("user", ("w30",)),))
    for answer in (8, 1, 0):
        sampling = Sampling(think_budget=budget, answer_budget=answer)
        (expected,) = TorchEngine(thinker).generate([prompt], sampling)
        (found,) = engine.generate([prompt], sampling)
        assert found.text.split() == expected.text.split()
        assert (found.stop, found.forced_exit) == (expected.stop, expected.forced_exit)
        assert found.think_tokens == expected.think_tokens


def test_thought_and_answer_are_separate_whole_and_streamed(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    asked = {"model": "chain", "messages": [{"role": "user", "content": "w30"}], "temperature": 0}
    message = client.chat.completions.create(**asked).choices[0].message  # type: ignore[call-overload]
    inside = THOUGHT.removeprefix("<think>").removesuffix("</think>")
    assert (message.model_extra["reasoning"], message.content.strip()) == (inside, ANSWER)
    pieces = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]  # type: ignore[call-overload]
    assert "".join((piece.model_extra or {}).get("reasoning") or "" for piece in pieces) == inside
    assert "".join(piece.content or "" for piece in pieces).strip() == ANSWER


def test_vllms_own_budget_counts_from_after_the_tag(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    answer = client.chat.completions.create(
        model="chain",
        messages=[{"role": "user", "content": "w30"}],
        temperature=0,
        extra_body={"thinking_token_budget": 3},
    )
    assert answer.choices[0].message.model_extra["reasoning"].split() == ["w1", "w2", "w3"]
    assert answer.choices[0].message.content.strip() == ANSWER


def test_a_served_teacher_can_be_distilled(url: str, tmp_path: Path) -> None:
    table, columns = tmp_path / "words.jsonl", {"question": "q", "answer": "a"}
    table.write_text("".join(json.dumps({"q": word, "a": "w20 w21"}) + "\n" for word in ("w30", "w31")))
    data = [{"source": "table", "path": str(table), "columns": columns, "kind": "exact"}]
    teacher = {"kind": "server", "url": url, "model": "chain"}
    wanted = settings(tmp_path, url, teacher=teacher, data=data, think_budget=40, **GREEDY)
    assert run(wanted).solved == 2
    inside = THOUGHT.removeprefix("<think>").removesuffix("</think>").strip()
    assert {(row["question"], row["reasoning"].strip()) for row in thoughts(wanted)} == {
        ("w30", inside),
        ("w31", inside),
    }
