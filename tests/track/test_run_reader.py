"""What a tracker is shown, and that nothing is shown twice."""

import json
from pathlib import Path

import pytest
from tests.track.small_run import small_run, write_metrics

from xreasoner.track.run_reader import RunReader, Shown, StepValues, read_shown


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run(tmp_path / "run")


def test_steps_are_counted_over_all_stages(run: Path) -> None:
    assert list(RunReader(run, Shown()).new_values()) == [
        StepValues(1, {"sft/loss": 2.0}),
        StepValues(2, {"sft/loss": 1.5}),
        StepValues(3, {"rl/reward": 0.25}),
        StepValues(3, {"rl/held_out": 0.5}),
    ]


def test_only_new_whole_lines_are_shown(run: Path) -> None:
    reader = RunReader(run, Shown())
    list(reader.new_values())
    write_metrics(run, "2-rl", [{"step": 2, "reward": 0.5}])
    with (run / "stages" / "2-rl" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "rew')
    assert list(reader.new_values()) == [StepValues(4, {"rl/reward": 0.5})]
    assert list(reader.new_values()) == []


def test_a_step_that_is_trained_again_is_not_shown_again(run: Path) -> None:
    reader = RunReader(run, Shown())
    list(reader.new_values())
    metrics = run / "stages" / "2-rl" / "metrics.jsonl"
    metrics.write_text("")
    assert list(reader.new_values()) == []
    write_metrics(
        run, "2-rl", [{"step": 1, "reward": 0.25}, {"step": 1, "held_out": 0.5}, {"step": 2, "reward": 1.0}]
    )
    assert list(reader.new_values()) == [StepValues(4, {"rl/reward": 1.0})]


def test_a_value_that_was_not_finite_is_left_out(run: Path) -> None:
    write_metrics(run, "2-rl", [{"step": 2, "reward": None, "lr": 0.1}])  # type: ignore[dict-item]
    assert list(RunReader(run, Shown()).new_values())[-1] == StepValues(4, {"rl/lr": 0.1})


def test_answers_of_training_and_of_evaluation(run: Path) -> None:
    reader = RunReader(run, Shown())
    training, evaluated = reader.new_tables()
    assert (training.name, training.step, len(training.rows)) == ("rl/step 1", 3, 1)
    assert (training.rows[0].question, training.rows[0].verdict) == ("1+1", "right")
    assert (evaluated.name, evaluated.step) == ("answers of rl/sums", 3)
    (row,) = evaluated.rows
    assert (row.question, row.key, row.answer, row.verdict) == ("1+2", "3", "4", "wrong")
    assert row.pictures == (run / "evals" / "pictures" / "a.png",)
    assert list(reader.new_tables()) == []


def test_what_was_shown_outlives_the_process(run: Path, tmp_path: Path) -> None:
    reader = RunReader(run, Shown(run_id="abc"))
    list(reader.new_values()), list(reader.new_tables())
    reader.shown.write(tmp_path / "wandb.json")
    again = RunReader(run, read_shown(tmp_path / "wandb.json"))
    assert again.shown.run_id == "abc"
    assert (list(again.new_values()), list(again.new_tables())) == ([], [])


def test_results_by_name(run: Path) -> None:
    expected = {"accuracy/rl/sums": 0.5, "gain/base to rl/sums": 0.25}
    assert RunReader(run, Shown()).results() == expected
    (run / "results.json").write_text(json.dumps({"results": [], "comparisons": []}))
    assert RunReader(run, Shown()).results() == {}
