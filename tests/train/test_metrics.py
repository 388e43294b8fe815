from pathlib import Path

from xreasoner.train.metrics import MetricsFile


def test_lines_beyond_the_state_and_half_lines_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    with MetricsFile(path, resumed_from=1) as metrics:
        metrics.write(2, {"loss": 2.5})
    assert path.read_text() == '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n'
