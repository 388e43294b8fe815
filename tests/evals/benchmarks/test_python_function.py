"""A benchmark and a scorer that a user wrote in Python."""

from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine

from xreasoner.evals.benchmarks.python_function import read_python
from xreasoner.evals.display import silent
from xreasoner.evals.eval_options import EvalOptions, recipe_from_options
from xreasoner.evals.regrade import own_scorer, regrade
from xreasoner.evals.runner import evaluate
from xreasoner.evals.samples import read_answers
from xreasoner.evals.task import Benchmark, Task
from xreasoner.recipe.benchmark_entries import PythonBenchmark
from xreasoner.records import Sampling
from xreasoner.rewards.grade import Grader

ROOT = Path(__file__).parent.parent.parent.parent
ONE = "def make(): return [Problem('a', ('1',), '1', 'number')]\n"
EXAMPLE = ROOT / "examples" / "my_benchmark.py"


def entry(function: str, scorer: str | None = None) -> PythonBenchmark:
    return PythonBenchmark(source="python", name="mine", function=function, scorer=scorer)


def written(folder: Path, code: str) -> str:
    (folder / "own_bench.py").write_text("from xreasoner import Picture, Problem\n" + code)
    return str(folder / "own_bench.py")


def ask(benchmark: Benchmark, out: Path, says: str) -> Path:
    task = Task(benchmark, Sampling(), out, out / "pictures")
    with Grader() as grader:
        evaluate(task, ScriptedEngine(lambda problem, sample: says), grader, silent)
    return task.samples_path


def test_the_documented_example_has_pictures_and_its_scorer_grades(tmp_path: Path) -> None:
    benchmark = read_python(entry(f"{EXAMPLE}:make", f"{EXAMPLE}:close_enough"))
    assert (benchmark.modality, len(benchmark.problems), benchmark.broken) == ("image", 10, ())
    path = ask(benchmark, tmp_path / "evals" / "base", "<answer>105</answer>")
    samples = read_answers(path).samples
    right = [sample.problem_id for sample in samples if sample.score.correct]
    assert right == ["bar-100", "bar-110"], "105 is within a tenth of 100 and of 110"
    assert samples[0].score.why == f"{EXAMPLE}:close_enough gave 0"
    assert own_scorer(path) == f"{EXAMPLE}:close_enough"
    with Grader() as grader:
        assert list(regrade(tmp_path, grader)) == [], "our grader does not overrule it"


def test_a_scorer_that_cannot_judge_leaves_it_unscored(tmp_path: Path) -> None:
    file = written(tmp_path, ONE + "def score(problem, reply): return None\n")
    path = ask(read_python(entry(f"{file}:make", f"{file}:score")), tmp_path / "out", "<answer>1</answer>")
    (sample,) = read_answers(path).samples
    assert sample.score.correct is None and sample.unscored


def test_another_scorer_asks_again(tmp_path: Path) -> None:
    asked = []
    for value in ("1", "0"):
        file = written(tmp_path, ONE + f"def score(problem, reply): return {value}\n")
        task = Task(read_python(entry(f"{file}:make", f"{file}:score")), Sampling(), tmp_path, tmp_path)
        asked.append(task.asked["a"])
        assert task.benchmark.scorer is not None
        task.benchmark.scorer.close()
    plain = Task(read_python(entry(f"{file}:make")), Sampling(), tmp_path, tmp_path).asked["a"]
    assert len({*asked, plain}) == 3


def test_a_broken_picture_is_an_item_that_could_not_be_asked(tmp_path: Path) -> None:
    code = (
        "def make():\n"
        "    yield Problem('a', (Picture(b'x'), '1'), '1', 'number')\n"
        "    yield Problem('b', ('1',), '1', 'number')\n"
    )
    benchmark = read_python(entry(f"{written(tmp_path, code)}:make"))
    assert [problem.id for problem in benchmark.problems] == ["b"]
    assert [broken.id for broken in benchmark.broken] == ["a"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make(): return 1/0\n", r"ZeroDivisionError: division by zero \(own_bench.py:2\)$"),
        ("def make(): return ['q']\n", r"returned 'q'; an iterable of xreasoner.Problem is needed$"),
        ("def make(): return 3\n", r"returned 3; an iterable of xreasoner.Problem is needed$"),
        ("def made(): pass\n", r"has no function 'make'$"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^benchmark mine: .*" + said):
        read_python(entry(f"{written(tmp_path, code)}:make"))


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^benchmark mine: nowhere.py:make: there is no such file$"):
        read_python(entry("nowhere.py:make"))


def test_bench_takes_a_function() -> None:
    wish = EvalOptions(benchmarks=["my_bench.py:make", "gsm8k"], scorer="my_bench.py:score")
    own, published = recipe_from_options("m", wish, None).evaluation.benchmarks
    assert isinstance(own, PythonBenchmark)
    assert (own.name, own.function, own.scorer) == (
        "my_bench",
        "my_bench.py:make",
        "my_bench.py:score",
    )
    assert published.source == "benchmark"
