"""Forced exit by text segments gives the same rollout as the torch engine."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.server_engine.chat_protocol import Completion
from xreasoner.rollout.server_engine.text_segments import generate_in_segments
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
    "an answer without a thought": f"w1 <answer> w2 w3 w4 w5 w6 w7 </answer> {EOS}",
    "a thought that was never opened": f"w1 w2 </think> w3 w4 {EOS}",
}
BUDGETS = [(0, 0), (0, 1), (0, 4), (1, 0), (1, 3), (2, 2), (3, 4), (4, 1), (5, 3), (7, 2), (20, 6)]


def words_of(script: str) -> list[str]:
    return script.split() + ["w0"] * 40


def server_of(script: str) -> Callable[[str, int, Sequence[str]], Completion]:
    """A server whose model writes a script, one word per token; an injected word replaces one."""

    def continue_text(text: str, tokens: int, stops: Sequence[str]) -> Completion:
        assert tokens > 0
        words: list[str] = []
        for word in words_of(script)[len(text.split()) :][:tokens]:
            if word == EOS or word in stops:
                stop = None if word == EOS else word
                return Completion(
                    reply(words) + " ", stopped_at=stop, completion_tokens=len(words) + 1, extra=TELLS
                )
            words.append(word)
        return Completion(reply(words), cut=True, completion_tokens=tokens, extra=TELLS)

    return continue_text


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

        monkeypatch.setattr("xreasoner.rollout.torch_engine.decode_step.draw", scripted)
        (rollout,) = TorchEngine(text_loaded).generate([ask("p", "w1")], sampling)
        return rollout.text.split(), rollout.stop, rollout.forced_exit, rollout.think_tokens

    return written


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("exit_without_thought", [True, False])
def test_it_matches_the_torch_engine(
    name: str, exit_without_thought: bool, in_process: Callable[..., tuple[object, ...]]
) -> None:
    outcomes = set()
    for think, answer in BUDGETS:
        sampling = Sampling(
            think_budget=think, answer_budget=answer, exit_without_thought=exit_without_thought
        )
        found = generate_in_segments(server_of(SCRIPTS[name]), sampling)
        summary = (found.text.split(), found.stop, found.forced_exit, found.think_tokens)
        assert summary == in_process(SCRIPTS[name], sampling), (think, answer)
        outcomes.add((found.stop, found.forced_exit))
    assert len(outcomes) > 1


def test_a_separate_thought_and_reply_are_joined() -> None:
    """A server with a reasoning parser, which takes the second segment for a thought too."""
    segments = iter(
        [
            Completion(thought="\na b", cut=True, completion_tokens=3),
            Completion(thought="\nB", completion_tokens=2),
        ]
    )
    sent: list[str] = []

    def continue_text(text: str, tokens: int, stops: Sequence[str]) -> Completion:
        sent.append(text)
        return next(segments)

    found = generate_in_segments(continue_text, Sampling(think_budget=3, answer_budget=5))
    assert sent == ["", "<think>\na b\n</think>\n"]
    assert found.text == "<think>\na b\n</think>\n\nB"
    assert (found.forced_exit, found.think_tokens, found.stop) == (True, 3, "eos")


def test_without_a_stop_reason_an_open_thought_ended_at_its_tag() -> None:
    segments = iter([Completion("<think>a", completion_tokens=3), Completion("B", completion_tokens=1)])
    found = generate_in_segments(lambda *_: next(segments), Sampling(think_budget=9, answer_budget=5))
    assert (found.text, found.forced_exit, found.think_tokens) == ("<think>a</think>B", False, 2)


def test_a_thought_cut_within_its_opening_tag_is_opened_again_and_closed() -> None:
    segments = iter(
        [
            Completion("<thi", cut=True),
            Completion(stopped_at="<think>", completion_tokens=3),
            Completion("\nB"),
        ]
    )
    sent: list[str] = []

    def continue_text(text: str, tokens: int, stops: Sequence[str]) -> Completion:
        sent.append(text)
        return next(segments)

    found = generate_in_segments(continue_text, Sampling(think_budget=2, answer_budget=5))
    assert sent == ["", "", "<think>\n</think>\n"]
    assert (found.text, found.forced_exit) == ("<think>\n</think>\n\nB", True)
