"""Budgets are exact to the token, tags are found in any tokenization, and injected tokens are marked."""

from collections.abc import Callable

import pytest
import torch

from xreasoner.chat.think import ANSWER_EXIT, FORCED_EXIT
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.sampler import Draw

Write = Callable[[Loaded, str, Sampling], Rollout]
BOTH = pytest.mark.parametrize("loaded_name", ["text_loaded", "letter_loaded"])
ENDLESS = 60


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Prompt]) -> Write:
    """The engine with a scripted policy: it writes the text, then ends its turn or repeats its last token."""

    def written(loaded: Loaded, text: str, sampling: Sampling) -> Rollout:
        script = loaded.tokenizer(text)["input_ids"]
        ending = [loaded.tokenizer.eos_token_id] if text.endswith(".") else script[-1:] * ENDLESS
        tokens = iter([*script, *ending])

        def scripted(logits: torch.Tensor, *_: object) -> Draw:
            return Draw(torch.full(logits.shape[:1], next(tokens)), torch.full(logits.shape[:1], -1.0))

        monkeypatch.setattr("xreasoner.rollout.torch_engine.decode_step.draw", scripted)
        (rollout,) = TorchEngine(loaded).generate([ask("p", "w1")], sampling)
        return rollout

    return written


def count(loaded: Loaded, text: str) -> int:
    return len(loaded.tokenizer(text)["input_ids"])


def exit_ids(loaded: Loaded) -> tuple[int, ...]:
    return tuple(loaded.tokenizer(FORCED_EXIT)["input_ids"])


@BOTH
def test_a_natural_end_is_unchanged(loaded_name: str, request: pytest.FixtureRequest, write: Write) -> None:
    loaded = request.getfixturevalue(loaded_name)
    text = "<think> a b </think> <answer> c </answer> ."
    rollout = write(loaded, text, Sampling(think_budget=100, answer_budget=50))
    before_close = loaded.tokenizer.decode(rollout.token_ids[: rollout.think_tokens])
    assert (rollout.stop, rollout.forced_exit) == ("eos", False)
    assert rollout.token_ids[-1] == loaded.tokenizer.eos_token_id
    assert rollout.text == loaded.tokenizer.decode(loaded.tokenizer(text)["input_ids"])
    assert all(rollout.by_policy)
    assert before_close.strip() == loaded.tokenizer.decode(loaded.tokenizer("<think> a b")["input_ids"])


@BOTH
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_an_open_thought_is_closed_at_its_budget(
    loaded_name: str, extra: int, request: pytest.FixtureRequest, write: Write
) -> None:
    loaded = request.getfixturevalue(loaded_name)
    budget = count(loaded, "<think>") + extra
    rollout = write(loaded, "<think> a b c", Sampling(think_budget=budget, answer_budget=7))
    injected = exit_ids(loaded)
    after = budget + len(injected)
    assert rollout.forced_exit and rollout.stop == "length" and rollout.think_tokens == budget
    assert rollout.token_ids[budget:after] == injected
    assert len(rollout.token_ids) == after + 7
    assert rollout.by_policy == (1,) * budget + (0,) * len(injected) + (1,) * 7
    assert rollout.logprobs == (-1.0,) * budget + (0.0,) * len(injected) + (-1.0,) * 7


@BOTH
@pytest.mark.parametrize("budget", [0, 1])
def test_a_thought_opened_beyond_its_budget_is_closed_at_once(
    loaded_name: str, budget: int, request: pytest.FixtureRequest, write: Write
) -> None:
    loaded = request.getfixturevalue(loaded_name)
    opening = count(loaded, "<think>")
    rollout = write(loaded, "<think> a", Sampling(think_budget=budget, answer_budget=2 * opening))
    assert rollout.forced_exit and rollout.think_tokens == opening
    assert len(rollout.token_ids) == opening + len(exit_ids(loaded)) + 2 * opening


@pytest.mark.parametrize("answer_budget", [0, 1, 3])
def test_an_answer_ends_at_its_budget(answer_budget: int, text_loaded: Loaded, write: Write) -> None:
    rollout = write(
        text_loaded, "<think> w1 </think> w2", Sampling(think_budget=9, answer_budget=answer_budget)
    )
    assert len(rollout.token_ids) == 3 + answer_budget
    assert (rollout.stop, rollout.forced_exit, rollout.think_tokens) == ("length", False, 2)


def test_a_turn_that_ends_with_the_last_token_ends_by_eos(text_loaded: Loaded, write: Write) -> None:
    rollout = write(text_loaded, "<think> w1 </think> w2 .", Sampling(think_budget=2, answer_budget=9))
    assert rollout.forced_exit
    closed_in_time = write(text_loaded, "<think> w1 </think> w2 .", Sampling(think_budget=3, answer_budget=3))
    assert (closed_in_time.stop, closed_in_time.forced_exit) == ("eos", False)


@pytest.mark.parametrize("budgets", [(0, 0), (0, 1), (1, 0), (4, 3)])
@pytest.mark.parametrize("text", ["w1 w2", "<answer> w1", "w1 <answer> w2"])
def test_without_an_exit_for_replies_the_budgets_are_one_limit(
    budgets: tuple[int, int], text: str, text_loaded: Loaded, write: Write
) -> None:
    sampling = Sampling(think_budget=budgets[0], answer_budget=budgets[1], exit_without_thought=False)
    rollout = write(text_loaded, text, sampling)
    assert len(rollout.token_ids) == sum(budgets)
    assert (rollout.stop, rollout.forced_exit, rollout.think_tokens) == ("length", False, 0)


@BOTH
@pytest.mark.parametrize("budget", [1, 4, 9])
def test_a_reply_without_a_thought_opens_its_answer_at_the_budget(
    loaded_name: str, budget: int, request: pytest.FixtureRequest, write: Write
) -> None:
    loaded = request.getfixturevalue(loaded_name)
    rollout = write(loaded, "a b c > a b", Sampling(think_budget=budget, answer_budget=5))
    injected = tuple(loaded.tokenizer(ANSWER_EXIT)["input_ids"])
    after = budget + len(injected)
    assert (rollout.forced_exit, rollout.stop, rollout.think_tokens) == (True, "length", 0)
    assert rollout.token_ids[budget:after] == injected and "<answer>" in rollout.text
    assert rollout.by_policy == (1,) * budget + (0,) * len(injected) + (1,) * 5
    assert rollout.logprobs == (-1.0,) * budget + (0.0,) * len(injected) + (-1.0,) * 5


def test_at_a_budget_of_zero_the_first_token_may_still_open_a_thought(
    text_loaded: Loaded, letter_loaded: Loaded, write: Write
) -> None:
    sampling = Sampling(think_budget=0, answer_budget=2)
    plain = write(text_loaded, "w1 w2", sampling)
    assert plain.text.split() == ["w1", "<answer>", "w2", "w2"]
    thought = write(text_loaded, "<think> w1 w2", sampling)
    assert thought.text.split() == ["<think>", "</think>", "w2", "w2"]
    # Letter by letter, "<t" may become <think>; "<tag" may not.
    assert write(letter_loaded, "<tag", sampling).text.startswith("<ta\n\n<answer>")


@pytest.mark.parametrize("text", ["<answer> w1", "w1 <answer> w2"])
def test_an_answer_that_is_already_open_is_not_opened_again(
    text: str, text_loaded: Loaded, write: Write
) -> None:
    rollout = write(text_loaded, text, Sampling(think_budget=4, answer_budget=3))
    assert len(rollout.token_ids) == 4 + 3
    assert (rollout.stop, rollout.forced_exit, rollout.text.count("<answer>")) == ("length", False, 1)


def test_no_answer_is_opened_if_there_are_no_tokens_for_it(text_loaded: Loaded, write: Write) -> None:
    rollout = write(text_loaded, "w1 w2", Sampling(think_budget=4, answer_budget=0))
    assert (len(rollout.token_ids), rollout.stop, rollout.forced_exit) == (4, "length", False)


@BOTH
@pytest.mark.parametrize("text", ["<think> a", "a", "a <think> b", "<answer> a", "<think> a </think> b"])
@pytest.mark.parametrize("on", [True, False])
def test_no_rollout_is_longer_than_the_bound(
    loaded_name: str, text: str, on: bool, request: pytest.FixtureRequest, write: Write
) -> None:
    loaded = request.getfixturevalue(loaded_name)
    exit_tokens = TorchEngine(loaded).special_tokens.exits.longest
    for think, answer in ((0, 0), (0, 1), (1, 0), (3, 9), (20, 2)):
        sampling = Sampling(think_budget=think, answer_budget=answer, exit_without_thought=on)
        assert len(write(loaded, text, sampling).token_ids) <= max_tokens(sampling, exit_tokens)


def test_without_forced_exit_a_thought_stays_open(text_loaded: Loaded, write: Write) -> None:
    sampling = Sampling(think_budget=5, answer_budget=4, forced_exit=False)
    rollout = write(text_loaded, "<think> w1", sampling)
    assert len(rollout.token_ids) == 9 and all(rollout.by_policy)
    assert (rollout.stop, rollout.forced_exit, rollout.think_tokens) == ("length", False, 9)


def test_a_thought_may_be_opened_by_the_prompt(opening_loaded: Loaded, write: Write) -> None:
    rollout = write(opening_loaded, "w1", Sampling(think_budget=0, answer_budget=2))
    assert rollout.token_ids[: len(exit_ids(opening_loaded))] == exit_ids(opening_loaded)
    assert rollout.forced_exit and rollout.think_tokens == 0


def test_a_comparison_sign_closes_nothing(text_loaded: Loaded, write: Write) -> None:
    rollout = write(text_loaded, "<think> w1 > w2", Sampling(think_budget=8, answer_budget=1))
    assert rollout.forced_exit and rollout.think_tokens == 8


def test_the_model_reads_the_injected_tokens(opening_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    """What follows a forced exit is what the model says to a prompt that ends with thought and exit."""
    engine = TorchEngine(opening_loaded, 3)
    for rollout in engine.generate(text_prompts, Sampling(think_budget=0, answer_budget=1)):
        *injected, answer = rollout.token_ids
        with torch.no_grad():
            logits = opening_loaded.model(torch.tensor([[*rollout.prompt_ids, *injected]])).logits[0, -1]
        logits[sorted(engine.special_tokens.banned)] = float("-inf")
        assert tuple(injected) == exit_ids(opening_loaded)
        assert answer == logits.argmax().item()
