"""Too little GPU memory: the micro-batch is halved once, with the same gradient. The error is injected."""

from pathlib import Path

import pytest
import torch
from tests.train.test_sft import settings, weights

from xreasoner.parallel import World
from xreasoner.records import Problem
from xreasoner.train import sft
from xreasoner.train.microbatch import MicroBatch
from xreasoner.train.sft import accumulate, train_sft
from xreasoner.train.step_display import NoDisplay


class Notes(NoDisplay):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_it_is_halved_once_and_training_ends_the_same(
    start: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fails_above_100(policy, examples, step, chosen):
        loss = accumulate(policy, examples, step, chosen)
        seen.append(chosen.tokens_per_microbatch)
        if chosen.tokens_per_microbatch > 100:  # the gradient is there already, as in the middle of a step
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    train_sft(settings(steps=3, lr=1e-3), start, problems, tmp_path / "fits", 0, NoDisplay())
    monkeypatch.setattr(sft, "accumulate", fails_above_100)
    notes = Notes()
    train_sft(settings(steps=3, lr=1e-3), start, problems, tmp_path / "halved", 0, notes)
    assert seen == [150, 75, 75, 75]
    assert notes.lines[1:] == ["out of GPU memory with tokens_per_microbatch=150: continuing with 75"]
    torch.testing.assert_close(
        weights(tmp_path / "halved" / "model"), weights(tmp_path / "fits" / "model"), rtol=1e-3, atol=1e-5
    )
    with pytest.raises(torch.OutOfMemoryError):
        small = settings(steps=3, tokens_per_microbatch=300)
        train_sft(small, start, problems, tmp_path / "never", 0, NoDisplay())


@pytest.mark.parametrize(("ranks", "repeatable"), [(2, True), (1, False)])
def test_what_cannot_be_repeated_is_not(ranks: int, repeatable: bool) -> None:
    def fails(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    microbatch = MicroBatch(settings(), World(0, ranks, torch.device("cpu")), print)
    with pytest.raises(torch.OutOfMemoryError):
        microbatch.fit(fails, lambda: None, repeatable)
