"""A rollout in segments equals the one that the torch engine generates token by token."""

import random
from collections.abc import Callable, Iterator

import pytest
import torch

from xreasoner.chat.template import encode_plainly
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import TokenDecoder, read_special_tokens
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.sampler import Draw

PIECES = ("<think>", "</think>", "<answer>", "</answer>", "a", "b c", ">", "\n")
LOGPROB = -1.0


def scripts(count: int) -> Iterator[tuple[str, bool, Sampling]]:
    """What a policy writes, whether it then ends its turn, and the budgets."""
    rng = random.Random(0)
    for _ in range(count):
        text = " ".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14)))
        sampling = Sampling(
            think_budget=rng.choice((0, 1, 3, 9, 30)),
            answer_budget=rng.choice((0, 1, 4, 20)),
            forced_exit=rng.random() < 0.8,
            exit_without_thought=rng.random() < 0.7,
        )
        yield text, rng.random() < 0.6, sampling


def token_by_token(
    engine: TorchEngine, tokens: list[int], prompt: Prompt, sampling: Sampling, patch: pytest.MonkeyPatch
) -> Rollout:
    script = iter(tokens)

    def scripted(logits: torch.Tensor, *_: object) -> Draw:
        return Draw(torch.full(logits.shape[:1], next(script)), torch.full(logits.shape[:1], LOGPROB))

    patch.setattr("xreasoner.rollout.torch_engine.decode_step.draw", scripted)
    (rollout,) = engine.generate([prompt], sampling)
    return rollout


def in_segments(decoder: TokenDecoder, tokens: list[int], prompt: Prompt, sampling: Sampling) -> Rollout:
    ids, _ = encode_plainly(prompt, decoder.tokenizer)
    rollout = SegmentedRollout(prompt, tuple(ids), 0, sampling, decoder)
    while not rollout.stop:
        # The torch engine also draws while it injects, and drops those draws.
        start = len(rollout.token_ids)
        segment = tokens[start : start + rollout.max_tokens]
        ends = [i for i, token in enumerate(segment) if token in decoder.special_tokens.stops]
        segment = segment[: ends[0] + 1] if ends else segment
        rollout.add_segment(segment, [LOGPROB] * len(segment))
    return rollout.rollout()


@pytest.mark.slow
@pytest.mark.parametrize("loaded_name", ["text_loaded", "letter_loaded", "opening_loaded"])
def test_it_matches_the_torch_engine(
    loaded_name: str,
    request: pytest.FixtureRequest,
    ask: Callable[..., Prompt],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: Loaded = request.getfixturevalue(loaded_name)
    engine, prompt, seen = TorchEngine(loaded), ask("p", "w1"), set()
    without_thought = 0
    decoder = TokenDecoder(loaded.tokenizer, engine.special_tokens)
    endless = loaded.tokenizer("a")["input_ids"] * 200
    for text, ends, sampling in scripts(60):
        ending = [loaded.tokenizer.eos_token_id] if ends else []
        tokens = [*loaded.tokenizer(text)["input_ids"], *ending, *endless]
        expected = token_by_token(engine, tokens, prompt, sampling, monkeypatch)
        assert in_segments(decoder, tokens, prompt, sampling) == expected, (text, ends, sampling)
        seen.add((expected.stop, expected.forced_exit))
        without_thought += expected.forced_exit and expected.think_tokens == 0
    # With tags of many tokens, a rollout rarely ends by itself after a forced exit.
    assert seen >= {("eos", False), ("length", False), ("length", True)}
    assert without_thought > 0


def decoder_of(loaded: Loaded) -> TokenDecoder:
    return TokenDecoder(loaded.tokenizer, read_special_tokens(loaded.model, loaded.tokenizer))


def test_a_segment_cut_short_ends_the_rollout(text_loaded: Loaded, ask: Callable[..., Prompt]) -> None:
    decoder = decoder_of(text_loaded)
    rollout = SegmentedRollout(ask("p", "w1"), (1, 2), 0, Sampling(think_budget=9, answer_budget=9), decoder)
    rollout.add_segment([7, 8], [LOGPROB, LOGPROB])
    assert rollout.rollout().stop == "length" and rollout.rollout().token_ids == (7, 8)


def test_every_segment_has_its_own_seed(text_loaded: Loaded, ask: Callable[..., Prompt]) -> None:
    decoder = decoder_of(text_loaded)

    def new_rollout(sample: int, seed: int) -> SegmentedRollout:
        return SegmentedRollout(ask("p", "w1"), (1, 2), sample, Sampling(think_budget=2, seed=seed), decoder)

    first, again = new_rollout(0, 0), new_rollout(0, 0)
    assert first.seed == again.seed
    again.add_segment([7, 8], [LOGPROB, LOGPROB])
    assert len({first.seed, again.seed, new_rollout(1, 0).seed, new_rollout(0, 1).seed}) == 4
