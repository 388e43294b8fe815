"""A run's folder with two trained stages and one evaluation, written by hand."""

import io
import json
from pathlib import Path

from PIL import Image

from xreasoner.evals.samples import Sample, kept_problem, problems_path, write_finished, write_problems
from xreasoner.records import Problem, Score


def small_run(folder: Path) -> Path:
    (folder / "recipe.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text("name: small\nseed: 3\n")
    write_metrics(folder, "1-sft", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}])
    write_metrics(folder, "2-rl", [{"step": 1, "reward": 0.25}, {"step": 1, "held_out": 0.5}])
    answer = {"question": "1+1", "gold": "2", "extracted": "2", "correct": True, "text": "<think>x</think> 2"}
    samples = folder / "stages" / "2-rl" / "samples" / "step-000001.jsonl"
    samples.parent.mkdir()
    samples.write_text(json.dumps(answer) + "\n")
    write_evaluation(folder)
    results = [{"stage": "rl", "benchmark": "sums", "subset": "all", "accuracy": 0.5}]
    gain = {"from": "base", "to": "rl", "benchmark": "sums", "subset": "all", "difference": 0.25}
    (folder / "results.json").write_text(json.dumps({"results": results, "comparisons": [gain]}))
    (folder / "report.html").write_text("<p>the report</p>")
    return folder


def write_metrics(folder: Path, stage: str, lines: list[dict[str, float]]) -> None:
    path = folder / "stages" / stage / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def write_evaluation(folder: Path) -> None:
    evals = folder / "evals"
    (evals / "pictures").mkdir(parents=True)
    (evals / "rl").mkdir()
    png = io.BytesIO()
    Image.new("RGB", (28, 28), "red").save(png, "PNG")
    (evals / "pictures" / "a.png").write_bytes(png.getvalue())
    path = evals / "rl" / "sums.jsonl"
    write_problems(problems_path(path), [kept_problem(Problem("p", ("1+2",), "3", "math"), ["a.png"])])
    score = Score(False, "4", "4 is not 3")
    sample = Sample("p", 0, "digest", score, False, "eos", 5, "<think>\n1 2\n</think> # 4")
    write_finished(path, [sample], {"n": 1, "sampling": {"n": 1}})
