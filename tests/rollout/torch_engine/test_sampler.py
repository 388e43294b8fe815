"""The sampler draws from the given distribution, reproducibly."""

import pytest
import torch
from scipy.stats import chisquare, kstest

from xreasoner.rollout.seeds import stream_key
from xreasoner.rollout.torch_engine.sampler import draw, uniforms

DRAWS = 200_000


def splitmix64(state: int) -> int:
    """The published algorithm, in Python's unbounded integers."""
    mask = 2**64 - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_uniforms_are_splitmix64_of_key_and_step() -> None:
    keys, steps = [0, 1, -5, 2**62, -(2**63)], [0, 3, 17, 4096, 2**31]
    expected = [
        (splitmix64(key + step * 0x9E3779B97F4A7C15) >> 40) / 2**24
        for key, step in zip(keys, steps, strict=True)
    ]
    assert uniforms(torch.tensor(keys), torch.tensor(steps)).tolist() == expected


def test_uniforms_are_uniform_along_a_stream_and_across_streams() -> None:
    along = uniforms(torch.full((DRAWS,), stream_key(0, "p", 0)), torch.arange(DRAWS))
    keys = torch.tensor([stream_key(0, f"p{i // 8}", i % 8) for i in range(DRAWS // 4)])
    across = uniforms(keys, torch.zeros_like(keys))
    assert kstest(along.numpy(), "uniform").pvalue > 0.01
    assert kstest(across.numpy(), "uniform").pvalue > 0.01


def test_stream_keys_tell_seed_prompt_and_sample_apart() -> None:
    keys = {
        stream_key(seed, prompt, sample) for seed in (1, 11) for prompt in ("1", "11") for sample in (1, 11)
    }
    assert len(keys) == 8
    assert stream_key(3, "p", 1) == stream_key(3, "p", 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    logits = torch.tensor([1.0, -0.5, 0.0, float("-inf"), 2.0, -3.0, 0.7])
    probabilities = (logits / temperature).softmax(-1)
    uniform = uniforms(torch.full((DRAWS,), stream_key(0, "q", 0)), torch.arange(DRAWS))
    drawn = draw(logits.expand(DRAWS, -1), temperature, uniform)
    counts = drawn.token_A.bincount(minlength=len(logits))
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible].double() * DRAWS
    assert chisquare(counts[possible].numpy(), expected.numpy(), sum_check=False).pvalue > 0.01
    torch.testing.assert_close(drawn.logprob_A, probabilities.log()[drawn.token_A])


def test_the_ends_of_the_unit_interval_never_reach_an_impossible_token() -> None:
    impossible = float("-inf")
    logits = torch.tensor([[impossible, 0.0, impossible, 0.3, 0.1, impossible, impossible]])
    largest = 1 - 2.0**-24
    ends = torch.tensor([0.0, largest])
    assert draw(logits.expand(2, -1), 1.0, ends).token_A.tolist() == [1, 4]


def test_greedy_takes_the_largest_and_reports_its_probability_untempered() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    drawn = draw(logits, 0.0, torch.tensor([0.99]))
    assert drawn.token_A.tolist() == [1]
    # 2 - log(e^0 + e^1 + e^2)
    assert drawn.logprob_A.item() == pytest.approx(-0.407606, abs=1e-5)
