"""inspect_ai's own reader reads our logs; needs the extra `inspect`."""

from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import run, says

from xreasoner.evals.samples import read_samples
from xreasoner.records import Sampling
from xreasoner.report.inspect_logs import write_logs


def test_inspect_reads_back_what_was_answered(tmp_path: Path) -> None:
    log_module = pytest.importorskip("inspect_ai.log")
    result = run(ScriptedEngine(says), tmp_path / "evals" / "base", Sampling(n=2))
    (path,) = write_logs(tmp_path, tmp_path / "inspect")
    log = log_module.read_eval_log(str(path))
    assert (log.status, log.eval.task, log.eval.config.epochs) == ("success", "sums", 2)
    assert log.results.scores[0].metrics["accuracy"].value == result.accuracy
    kept = list(read_samples(tmp_path / "evals" / "base" / "sums.jsonl"))
    assert [(one.id, one.epoch - 1) for one in log.samples] == [one.key for one in kept]
    verdicts = {True: "C", False: "I"}
    assert [one.scores["xreasoner"].value for one in log.samples] == [
        verdicts[bool(one.score.correct)] for one in kept
    ]
    assert log.samples[0].output.message.content[0].reasoning == "n plus one"


def test_without_inspect_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.report.inspect_logs.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="xreasoner\\[inspect\\]"):
        list(write_logs(tmp_path, tmp_path / "inspect"))
