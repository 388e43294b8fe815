"""Whatever a model writes, it is graded, stored, read again and shown: nothing raises."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine, problem
from tests.evals.test_runner import run

from xreasoner.evals.samples import read_answers
from xreasoner.evals.task import Benchmark
from xreasoner.records import Kind
from xreasoner.report.write import write_report

TEXTS = (
    "",
    "half a pair \ud800 and \udfff",
    "\x00 \x1b[31m \u2028 \u2029 \x85 \r\n \x1c",
    "<answer>1/" + "3" * 309 + "</answer>",
    "<answer>" + "9" * 4300 + "</answer>",
    "<answer>" + "9" * 9000 + "^" + "9" * 9000 + "</answer>",
    "<answer>\\frac{1}{0}</answer>",
    "<think>" * 20_000,
    "<think></think>" * 20_000,
    "<answer>" + "{" * 5000 + "</answer>",
    "<answer>" + "(" * 2000 + "1" + ")" * 2000 + "</answer>",
    "</script><img src=x onerror=alert(1)>&amp;\ufffd\ufeff\u202e",
    "{'a': [1, 2]} %s {0} ${x} `rm -rf`",
)


@pytest.mark.parametrize("kind", ["exact", "math", "number", "open", "choice"])
def test_a_hostile_text_is_one_wrong_answer(kind: Kind, tmp_path: Path) -> None:
    choices = ("7777", "8888") if kind == "choice" else ()
    key = "A" if kind == "choice" else "7777"
    asked = tuple(replace(problem(i), kind=kind, answer=key, choices=choices) for i in range(len(TEXTS)))
    out = tmp_path / "evals" / "base"
    engine = ScriptedEngine(lambda name, _: TEXTS[int(name[1:4])])
    result = run(engine, out, benchmark=Benchmark("sums", "text", "general", asked))
    assert (result.n, result.unscored, result.accuracy) == (len(TEXTS), 0.0, 0.0)
    assert [one.text for one in read_answers(out / "sums.jsonl").samples] == list(TEXTS)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_bytes().decode()
    assert "<img src=x" not in page
