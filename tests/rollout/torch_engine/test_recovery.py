"""A step that fails costs one request, or rows; all other answers are those of an unbroken engine."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.rollout.torch_engine.test_torch_engine import RANDOM
from tests.rollout.torch_engine.test_torch_engine import run as run_with_log_probabilities

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Scheduler


def compared(rollout: Rollout) -> Rollout:
    """Without log-probabilities, whose last bits depend on how many rows are computed together."""
    return replace(rollout, logprobs=())


def run(loaded: Loaded, prompts: list[Prompt], sampling: Sampling, rows: int = 4):
    found = run_with_log_probabilities(loaded, prompts, sampling, rows)
    return {key: compared(rollout) for key, rollout in found.items()}


def broken_before_decoding(
    monkeypatch: pytest.MonkeyPatch, error: Exception, is_broken: Callable[[Scheduler], bool]
) -> None:
    decode = Scheduler._decode

    def decode_or_fail(self: Scheduler) -> None:
        if is_broken(self):
            raise error
        decode(self)

    monkeypatch.setattr(Scheduler, "_decode", decode_or_fail)


def once_in_step(step: int) -> Callable[[Scheduler], bool]:
    steps = iter(range(100_000))
    return lambda _: next(steps) == step


def test_one_prompt_that_always_fails(
    text_loaded: Loaded, text_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, bad = run(text_loaded, text_prompts, RANDOM), text_prompts[1].id
    broken_before_decoding(
        monkeypatch,
        RuntimeError("no such kernel\nand more"),
        lambda scheduler: any(slot.request.prompt_id == bad for slot in scheduler._slots),
    )
    found = run(text_loaded, text_prompts, RANDOM)
    assert {found[bad, n].trouble for n in range(3)} == {"RuntimeError: no such kernel"}
    assert {key: found[key] for key in found if key[0] != bad} == {
        key: wanted[key] for key in wanted if key[0] != bad
    }


def test_a_step_that_fails_once_changes_no_answer(
    text_loaded: Loaded, text_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = run(text_loaded, text_prompts, RANDOM)
    begun = [
        PartialRollout(text_prompts[0], n, wanted[text_prompts[0].id, n].token_ids[:4]) for n in range(3)
    ]
    broken_before_decoding(monkeypatch, RuntimeError("once"), once_in_step(7))
    assert run(text_loaded, text_prompts, RANDOM) == wanted
    monkeypatch.undo()
    broken_before_decoding(monkeypatch, RuntimeError("once"), once_in_step(2))
    resumed = TorchEngine(text_loaded, 4).resume(begun, RANDOM)
    assert {(one.prompt_id, one.sample): compared(one) for one in resumed} == {
        key: wanted[key] for key in wanted if key[0] == text_prompts[0].id
    }


def test_without_memory_it_goes_on_with_fewer_rows(
    text_loaded: Loaded, text_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    wanted = run(text_loaded, text_prompts, RANDOM, 8)
    error = torch.OutOfMemoryError("CUDA out of memory")
    broken_before_decoding(monkeypatch, error, lambda scheduler: len(scheduler._slots) > 3)
    engine = TorchEngine(text_loaded, 8)
    found = {(one.prompt_id, one.sample): compared(one) for one in engine.generate(text_prompts, RANDOM)}
    assert found == wanted
    assert engine.max_rows == 2
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"out of memory while sampling: continuing with rows={rows}" for rows in (4, 2)]


def test_an_engine_that_fails_for_every_prompt_is_an_error(
    text_loaded: Loaded, text_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_before_decoding(monkeypatch, RuntimeError("no device"), lambda _: True)
    with pytest.raises(RuntimeError, match="no device"):
        run(text_loaded, text_prompts, RANDOM)
