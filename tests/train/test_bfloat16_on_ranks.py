"""GRPO in bfloat16 on 1, 2 and 4 ranks: from the same answers they learn the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.processes import difference, loaded_state, read_metrics, run_on_ranks, train_stages
from tests.train.rollouts import settings

from xreasoner.models.load import load
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.storage.folders import discard
from xreasoner.storage.state_folders import complete_states
from xreasoner.train import ahead
from xreasoner.train.policy import Policy
from xreasoner.train.samplers import Sampler

pytestmark = pytest.mark.slow

STAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "kl": {"kl": 0.1, "gradient_reduction": "step"},
    "lora": {"lr": 1e-2, "lora": {"rank": 4}, "kl": 0.1},
    "few": {"prompts_per_step": 1, "samples_per_prompt": 8, "tokens_per_microbatch": 1000},
}
"""Three steps each. The second has no reward, so only the third builds on what was learned."""
LOSS, NORM, GRADIENT, WEIGHTS = 2e-3, 0.02, 0.03, 0.3
"""From float32. Loss and norm are absolute (or 5% of the norm), the others relative: to the first gradient,
and to what training moves. bfloat16 has eight bits, and AdamW's first steps enlarge small gradients."""


@contextmanager
def sampled_by_the_start(settings: GrpoStage, start: Path, policy: Policy, *others: Any) -> Iterator[Sampler]:
    """In float32 and never updated. The policy's own answers would differ where bfloat16 rounds a draw to
    another token, and learning from other answers is another training."""
    yield Sampler(TorchEngine(load(start), max_rows=settings.rows), policy)


def reinforce(start: Path, out: Path, stages: dict[str, GrpoStage], problems: list[Problem]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "open_sampler", sampled_by_the_start)
        train_stages(start, out, stages, problems)


@dataclass(frozen=True)
class Trained:
    metrics: list[dict[str, float]]
    first_gradient: np.ndarray
    """A tenth of it: AdamW's first moment after one step."""
    model: Path


def trained(start: Path, chosen: GrpoStage, out: Path) -> Trained:
    metrics = read_metrics(out)  # before the state of step 1 is loaded, which cuts them
    *_, newest = complete_states(out / "state")
    discard(newest)
    step, state = loaded_state(start, chosen, out)
    assert step == 1
    moments = [state[name].ravel() for name in sorted(state) if name.startswith("exp_avg.")]
    return Trained(metrics, np.concatenate(moments), out / "model")


def test_ranks_learn_in_bfloat16_what_one_process_learns(
    gambler: Path, arms: list[Problem], tmp_path: Path
) -> None:
    """Any number of ranks comes as near to float32 as one process in bfloat16 does."""

    def stages(dtype: str) -> dict[str, GrpoStage]:
        fixed = {"steps": 3, "lr": 1e-3, "dtype": dtype, "checkpoint_every": 1}
        return {name: settings(**{**fixed, **changes}) for name, changes in STAGES.items()}

    rounded = stages("bfloat16")
    reinforce(gambler, tmp_path / "exact", stages("float32"), arms)
    reinforce(gambler, tmp_path / "1", rounded, arms)
    for processes in (2, 4):
        run_on_ranks(reinforce, processes, gambler, tmp_path / f"{processes}", rounded, arms)
    for name, chosen in rounded.items():
        exact, *found = (
            trained(gambler, chosen, tmp_path / folder / name) for folder in ("exact", "1", "2", "4")
        )
        for many in found:
            for mine, theirs in zip(exact.metrics, many.metrics, strict=True):
                assert theirs["reward"] == mine["reward"]
                assert theirs["loss"] == pytest.approx(mine["loss"], abs=LOSS)
                assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=0.05, abs=NORM)
            off = np.linalg.norm(many.first_gradient - exact.first_gradient)
            assert off < GRADIENT * np.linalg.norm(exact.first_gradient), name
        apart = [difference(many.model, exact.model, gambler) for many in found]
        assert max(apart) < min(WEIGHTS, 1.25 * apart[0]), name
        assert difference(found[2].model, found[1].model, gambler) < 0.02, "four ranks round as two do"
