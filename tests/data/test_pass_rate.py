"""Pass rates are counted correctly, written as they come, and never measured twice."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.evals.scripted import Killed, ScriptedEngine, problem

from xreasoner.cli.data import refuse_another
from xreasoner.data.checks import read_rates
from xreasoner.data.pass_rate import measure_pass_rates
from xreasoner.records import Sampling
from xreasoner.rewards.grade import Grader

PROBLEMS = [problem(number) for number in range(4)]
SAMPLING = Sampling(n=4, temperature=1.0)


def says(prompt: str, sample: int) -> str:
    """Problem k is solved in its first k samples."""
    right = sample < int(prompt)
    return f"<think>hm</think><answer>{int(prompt) + (1 if right else 7)}</answer>"


def measure(engine: ScriptedEngine, out: Path) -> None:
    with Grader() as grader:
        measure_pass_rates(PROBLEMS, engine, grader, None, SAMPLING, out, lambda line: None)


def test_rates_by_hand(tmp_path: Path) -> None:
    measure(ScriptedEngine(says), tmp_path / "rates.jsonl")
    assert read_rates(tmp_path / "rates.jsonl") == {f"p00{k}-text": k / 4 for k in range(4)}


def test_a_killed_run_goes_on_with_the_problems_that_are_left(tmp_path: Path) -> None:
    out = tmp_path / "rates.jsonl"
    broken = ScriptedEngine(says, killed_after=6)
    with pytest.raises(Killed):
        measure(broken, out)
    with out.open("a") as file:
        file.write('{"id": "p00')
    again = ScriptedEngine(says)
    measure(again, out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert Counter(row["id"] for row in rows) == Counter(p.id for p in PROBLEMS)
    assert len(again.asked) == 3


def test_rates_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    out = tmp_path / "rates.jsonl"
    refuse_another(out, {"model": "a"})
    out.write_text("")
    refuse_another(out, {"model": "a"})
    with pytest.raises(ValueError, match=r'holds other pass rates \(model was "a", is "b"\)'):
        refuse_another(out, {"model": "b"})


def test_missing_rates_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="create it with: xreasoner data pass-rate"):
        read_rates(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("oops", "not JSON"),
        ('{"id": "a"}', "not an id and a rate from 0 to 1"),
        ('{"id": 1, "rate": 0.5}', "not an id and a rate from 0 to 1"),
        ('{"id": "a", "rate": 7}', "not an id and a rate from 0 to 1"),
        ("[]", "not an id and a rate from 0 to 1"),
    ],
)
def test_another_file_is_named_with_its_line(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    path.write_text(f'\ufeff{{"id": "a", "rate": null}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        read_rates(path)
    assert str(caught.value) == f"{path}:2: {said}; this is no file of xreasoner data pass-rate"
