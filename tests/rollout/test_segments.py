"""A rollout told in legs is the one the torch engine generates token by token."""

import random
from collections.abc import Callable, Iterator

import pytest
import torch

from xreasoner.chat.template import encode_plainly
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.segments import Journey
from xreasoner.rollout.token_decoder import Speech
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.sampler import Draw
from xreasoner.rollout.vocabulary import read_vocabulary

PIECES = ("<think>", "</think>", "<answer>", "</answer>", "a", "b c", ">", "\n")
LOGPROB = -1.0


def scripts(count: int) -> Iterator[tuple[str, bool, Sampling]]:
    """What a policy would write, whether it then ends its turn, and the budgets."""
    rng = random.Random(0)
    for _ in range(count):
        text = " ".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14)))
        sampling = Sampling(
            think_budget=rng.choice((0, 1, 3, 9, 30)),
            answer_budget=rng.choice((0, 1, 4, 20)),
            forced_exit=rng.random() < 0.8,
        )
        yield text, rng.random() < 0.6, sampling


def token_by_token(
    engine: TorchEngine, tokens: list[int], prompt: Prompt, sampling: Sampling, patch: pytest.MonkeyPatch
) -> Rollout:
    script = iter(tokens)

    def scripted(logits: torch.Tensor, *_: object) -> Draw:
        return Draw(torch.full(logits.shape[:1], next(script)), torch.full(logits.shape[:1], LOGPROB))

    patch.setattr("xreasoner.rollout.torch_engine.scheduler.draw", scripted)
    (rollout,) = engine.generate([prompt], sampling)
    return rollout


def in_legs(speech: Speech, tokens: list[int], prompt: Prompt, sampling: Sampling) -> Rollout:
    ids, _ = encode_plainly(prompt, speech.tokenizer)
    journey = Journey(prompt, tuple(ids), 0, sampling, speech)
    while not journey.stop:
        # The torch engine draws while it injects, too, and drops what it drew.
        taken = len(journey.token_ids)
        leg = tokens[taken : taken + journey.wanted]
        ends = [place for place, token in enumerate(leg) if token in speech.vocabulary.stops]
        leg = leg[: ends[0] + 1] if ends else leg
        journey.go(leg, [LOGPROB] * len(leg))
    return journey.rollout()


@pytest.mark.slow
@pytest.mark.parametrize("loaded_name", ["text_loaded", "letter_loaded", "opening_loaded"])
def test_it_is_what_the_torch_engine_generates(
    loaded_name: str,
    request: pytest.FixtureRequest,
    ask: Callable[..., Prompt],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: Loaded = request.getfixturevalue(loaded_name)
    engine, prompt, seen = TorchEngine(loaded), ask("p", "w1"), set()
    speech = Speech(loaded.tokenizer, engine.vocabulary)
    endless = loaded.tokenizer("a")["input_ids"] * 200
    for text, ends, sampling in scripts(60):
        ending = [loaded.tokenizer.eos_token_id] if ends else []
        tokens = [*loaded.tokenizer(text)["input_ids"], *ending, *endless]
        expected = token_by_token(engine, tokens, prompt, sampling, monkeypatch)
        assert in_legs(speech, tokens, prompt, sampling) == expected, (text, ends, sampling)
        seen.add((expected.stop, expected.forced_exit))
    # Where a tag takes many tokens, an exit is hardly ever forced so near the end that the turn ends as well.
    assert seen >= {("eos", False), ("length", False), ("length", True)}


def test_a_leg_that_ran_out_of_room_ends_the_journey(text_loaded: Loaded, ask: Callable[..., Prompt]) -> None:
    speech = Speech(text_loaded.tokenizer, read_vocabulary(text_loaded.model, text_loaded.tokenizer))
    journey = Journey(ask("p", "w1"), (1, 2), 0, Sampling(think_budget=9, answer_budget=9), speech)
    journey.go([7, 8], [LOGPROB, LOGPROB])
    assert journey.rollout().stop == "length" and journey.rollout().token_ids == (7, 8)


def test_every_leg_of_every_sample_has_its_own_seed(text_loaded: Loaded, ask: Callable[..., Prompt]) -> None:
    speech = Speech(text_loaded.tokenizer, read_vocabulary(text_loaded.model, text_loaded.tokenizer))

    def journey(sample: int, seed: int) -> Journey:
        return Journey(ask("p", "w1"), (1, 2), sample, Sampling(think_budget=2, seed=seed), speech)

    first, again = journey(0, 0), journey(0, 0)
    assert first.seed == again.seed
    again.go([7, 8], [LOGPROB, LOGPROB])
    assert len({first.seed, again.seed, journey(1, 0).seed, journey(0, 1).seed}) == 4
