"""The checkpoint that did best on the held-out problems."""

import shutil
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from xreasoner.parallel import wait_for_all
from xreasoner.storage.folders import folder_written_atomically, refuse_damaged
from xreasoner.train.optim import GuardedStep
from xreasoner.train.policy import Policy, save_policy


@dataclass(frozen=True)
class Best:
    score: float = -inf
    """Higher is better: an accuracy, or a negative loss."""
    step: int = -1


def kept(best: Best, take_step: GuardedStep) -> dict[str, Any]:
    """What a training state keeps beside weights and moments."""
    return {"best": asdict(best), "not_finite_in_a_row": take_step.in_a_row}


def is_evaluated(step: int, steps: int, every: int) -> bool:
    """Whether the held-out problems are evaluated after this step; `every` 0 means never."""
    return every > 0 and (step % every == 0 or step == steps)


def keep_best(policy: Policy, score: float, step: int, best: Best, out: Path) -> Best:
    """Save the policy if its score is above the best so far."""
    if score <= best.score:
        return best
    save_policy(policy, out / "best")
    return Best(score, step)


def write_result(policy: Policy, best: Best, out: Path) -> None:
    """The stage's result: the best checkpoint if any was kept, else the last."""
    if best == Best():
        save_policy(policy, out / "model")
        return
    if policy.world.is_first:
        refuse_damaged(
            out / "best",
            f"the best checkpoint, of step {best.step}, is lost: train the stage again with --redo",
        )
        with folder_written_atomically(out / "model") as folder:
            shutil.copytree(out / "best", folder, dirs_exist_ok=True)
    wait_for_all(policy.world)
