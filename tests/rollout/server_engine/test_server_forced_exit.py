"""Forced exit from outside takes the very course that the torch engine takes inside."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.server_engine.forced_exit import answer_in_legs
from xreasoner.rollout.server_engine.wire import Said
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.sampler import Draw

EOS = "<|im_end|>"
SCRIPTS = {
    "a whole answer": f"<think> w1 w2 w3 </think> w4 w5 {EOS}",
    "an endless thought": "<think> w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12",
    "an endless answer": "<think> w1 </think> w2 w3 w4 w5 w6 w7 w8 w9 w10 w11",
    "a late thought": f"w1 w2 w3 <think> w4 w5 w6 </think> w7 w8 {EOS}",
    "no thought": f"w1 w2 w3 w4 {EOS}",
    "a turn that ends in its thought": f"<think> w1 w2 {EOS}",
    "a thought that was never opened": f"w1 w2 </think> w3 w4 {EOS}",
}
BUDGETS = [(0, 0), (0, 1), (0, 4), (1, 0), (1, 3), (2, 2), (3, 4), (4, 1), (5, 3), (7, 2), (20, 6)]


def words_of(script: str) -> list[str]:
    return script.split() + ["w0"] * 40


def server_of(script: str) -> Callable[[str, int, Sequence[str]], Said]:
    """A server whose model writes a script, a word a token; an injected word takes the place of one."""

    def ask(written: str, tokens: int, stops: Sequence[str]) -> Said:
        assert tokens > 0
        said: list[str] = []
        for word in words_of(script)[len(written.split()) :][:tokens]:
            if word == EOS or word in stops:
                told = None if word == EOS else word
                return Said(reply(said) + " ", stopped_at=told, completion_tokens=len(said) + 1, extra=TELLS)
            said.append(word)
        return Said(reply(said), cut=True, completion_tokens=tokens, extra=TELLS)

    return ask


TELLS = {"stop_reason": None}


def reply(words: list[str]) -> str:
    return "".join(f" {word}" for word in words)


@pytest.fixture
def in_process(
    monkeypatch: pytest.MonkeyPatch, text_loaded: Loaded, ask: Callable[..., Prompt]
) -> Callable[[str, Sampling], tuple[object, ...]]:
    tokenizer = text_loaded.tokenizer

    def written(script: str, sampling: Sampling) -> tuple[object, ...]:
        tokens: Iterator[int] = iter(tokenizer.convert_tokens_to_ids(words_of(script)))

        def scripted(logits: torch.Tensor, *_: object) -> Draw:
            return Draw(torch.full(logits.shape[:1], next(tokens)), torch.full(logits.shape[:1], -1.0))

        monkeypatch.setattr("xreasoner.rollout.torch_engine.scheduler.draw", scripted)
        (rollout,) = TorchEngine(text_loaded).generate([ask("p", "w1")], sampling)
        return rollout.text.split(), rollout.stop, rollout.forced_exit, rollout.think_tokens

    return written


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_course_is_the_torch_engines(name: str, in_process: Callable[..., tuple[object, ...]]) -> None:
    courses = set()
    for think, answer in BUDGETS:
        sampling = Sampling(think_budget=think, answer_budget=answer)
        found = answer_in_legs(server_of(SCRIPTS[name]), sampling)
        summary = (found.text.split(), found.stop, found.forced_exit, found.think_tokens)
        assert summary == in_process(SCRIPTS[name], sampling), (think, answer)
        courses.add((found.stop, found.forced_exit))
    assert len(courses) > 1


def test_a_thought_that_comes_apart_is_one_text() -> None:
    """A server with a reasoning parser, which takes the second leg for a thought as well."""
    legs = iter(
        [Said(thought="\na b", cut=True, completion_tokens=3), Said(thought="\nB", completion_tokens=2)]
    )
    written: list[str] = []

    def ask(text: str, tokens: int, stops: Sequence[str]) -> Said:
        written.append(text)
        return next(legs)

    found = answer_in_legs(ask, Sampling(think_budget=3, answer_budget=5))
    assert written == ["", "<think>\na b\n</think>\n"]
    assert found.text == "<think>\na b\n</think>\n\nB"
    assert (found.forced_exit, found.think_tokens, found.stop) == (True, 3, "eos")


def test_a_server_that_does_not_tell_where_it_stopped_is_taken_to_have_met_the_tag() -> None:
    legs = iter([Said("<think>a", completion_tokens=3), Said("B", completion_tokens=1)])
    found = answer_in_legs(lambda *_: next(legs), Sampling(think_budget=9, answer_budget=5))
    assert (found.text, found.forced_exit, found.think_tokens) == ("<think>a</think>B", False, 2)


def test_a_thought_cut_within_its_first_tag_is_opened_once_more_and_closed() -> None:
    legs = iter([Said("<thi", cut=True), Said(stopped_at="<think>", completion_tokens=3), Said("\nB")])
    written: list[str] = []

    def ask(text: str, tokens: int, stops: Sequence[str]) -> Said:
        written.append(text)
        return next(legs)

    found = answer_in_legs(ask, Sampling(think_budget=2, answer_budget=5))
    assert written == ["", "", "<think>\n</think>\n"]
    assert (found.text, found.forced_exit) == ("<think>\n</think>\n\nB", True)
