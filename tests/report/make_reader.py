"""Writes the folder that the browser tests of the reader open: `python -m tests.report.make_reader OUT`."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.evals.scripted import ScriptedEngine, problem
from tests.evals.test_runner import run
from tests.faults.test_texts import TEXTS
from tests.report.demo_run import make_run
from tests.report.reader_files import write_rollouts

from xreasoner.evals.task import Benchmark
from xreasoner.report.write import write_report

HOSTILE = (
    *TEXTS,
    "<script>hacked=true</script><img src=x onerror='hacked=true'><a href='javascript:hacked=true'>x</a>",
    "$\\href{javascript:hacked=true}{x}$ $\\htmlData{x=y}{z}$ $\\includegraphics{https://example.com/a.png}$",
    "$\\def\\a{\\a\\a}\\a$ \\(" + "{" * 700 + "}" * 700 + "\\) $\\rule{99999em}{99999em}$",
    "constructor __proto__ \\u003cscript\\u003e </script></style><!-- ${hacked=true}",
)
FORMULAS = (
    "<think>half is \\(\\frac{1}{2}\\), $5 and $10 are money, \\(\\notacommand{\\) is none, "
    "and so is $\\href{javascript:hacked()}{x}$ \\[\\int_0^1 x^2\\,dx\\]</think><answer>\\boxed{7}</answer>"
)
TOKENS = {"chars": [7, 4, 8, 3], "logprobs": [-0.01, -1.5, None, -6.0]}


def say(run_dir: Path, name: str, texts: tuple[str, ...]) -> None:
    """A benchmark that base answers with these texts."""
    asked = tuple(
        replace(problem(number), question=(texts[number],), answer="7" * 9, tags={"<b>": texts[number][:99]})
        for number in range(len(texts))
    )
    engine = ScriptedEngine(lambda name, _: texts[int(name[1:4])])
    run(engine, run_dir / "evals" / "base", benchmark=Benchmark(name, "text", "general", asked))


def main(run_dir: Path) -> None:
    make_run(run_dir, count=20)
    say(run_dir, "hostile", HOSTILE)
    say(run_dir, "formulas", (FORMULAS,))
    say(run_dir, "long", ("<think>" + "a long thought \\(x\\) " * 50_000 + "</think>7",))
    write_rollouts(run_dir, 10, {"text": "<think>so 𝄞</think> 4 ", "tokens": TOKENS, "forced": True})
    write_report(run_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
