import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.rollouts import made_up_group

from xreasoner.train.collect import RolloutBatch
from xreasoner.train.grpo import step_metrics
from xreasoner.train.metrics import MetricsFile, rollout_metrics
from xreasoner.train.speed import Utilisation
from xreasoner.train.update import UpdateMetrics


def test_lines_beyond_the_state_and_half_lines_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    with MetricsFile(path, resumed_from=1) as metrics:
        metrics.write(2, {"loss": 2.5})
    assert path.read_text() == '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n'


def test_lengths_of_right_and_wrong_answers_and_rewards_by_source() -> None:
    groups = [made_up_group(0, [1.0, 0.0, 0.0, None]), made_up_group(1, [1.0, 1.0, 1.0, 1.0])]
    groups = [replace(one, problem=replace(one.problem, source=f"s{n}")) for n, one in enumerate(groups)]
    values = rollout_metrics(RolloutBatch(tuple(groups), drawn=2, drawn_without_signal=1))
    assert (values["reward_from_s0"], values["reward_from_s1"]) == (pytest.approx(1 / 3), 1.0)
    lengths = [[len(answer.rollout.token_ids) for answer in group.answers] for group in groups]
    assert values["length_right"] == pytest.approx((lengths[0][0] + sum(lengths[1])) / 5)
    assert values["length_wrong"] == pytest.approx((lengths[0][1] + lengths[0][2]) / 2)
    alone = rollout_metrics(RolloutBatch((groups[1],), drawn=1, drawn_without_signal=1))
    assert "length_wrong" not in alone and "reward_from_s1" not in alone


DOCUMENTED = (Path(__file__).parent.parent.parent / "docs" / "metrics.md").read_text()


def test_every_number_of_a_step_is_on_the_page_of_the_docs() -> None:
    batch = RolloutBatch((made_up_group(0, [1.0, 0.0]),), drawn=1, drawn_without_signal=0, seconds=1.0)
    grpo = {
        **step_metrics(batch, UpdateMetrics(), 1e-6, 0.0, 0.0, Utilisation(1, 1, 3, None)),
        "held_out": 0.0,
        "peak_gb": 0.0,
        "mfu": 0.0,
    }
    sft = ("loss", "lr", "grad_norm", "tokens", "seconds", "held_out_loss", "mfu", "peak_gb")
    before, after = DOCUMENTED.split("## GRPO")
    for names, part in ((sft, before), (grpo, after)):
        rows = "".join(line.split("|")[1] for line in part.splitlines() if line.startswith("| `"))
        assert [name for name in names if f"`{name}`" not in rows] == []
        known = set(re.findall(r"`(\w+)`", rows)) - {"reward_NAME", "reward_from_SOURCE"}
        assert known == set(names), "nothing is documented that no step writes"
