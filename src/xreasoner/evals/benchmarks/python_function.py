"""A benchmark from the user's Python: a function without arguments that returns problems."""

from collections.abc import Iterable
from dataclasses import replace

from xreasoner.data.candidates import BadRowError
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.scorer import Scorer
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.recipe.benchmark_entries import BenchmarkRole, PythonBenchmark
from xreasoner.records import Modality, Picture, Problem
from xreasoner.rewards.load_function import error_in_words, load_function


def read_python(entry: PythonBenchmark) -> Benchmark:
    scorer = Scorer(entry.scorer, entry.seconds) if entry.scorer else None
    return benchmark_from(returned_problems(entry), entry.name, entry.role, scorer)


def benchmark_from(
    found: Iterable[Problem],
    name: str,
    role: BenchmarkRole,
    scorer: Scorer | None,
    instruction: str | None = None,
) -> Benchmark:
    problems, broken = list[Problem](), list[Broken]()
    for problem in found:
        try:
            problems.append(with_sound_pictures(problem))
        except BadRowError as bad:
            broken.append(Broken(problem.id, f"{bad.reason}: {bad.detail}"))
    modality: Modality = "image" if any(problem.pictures for problem in problems) else "text"
    domain = problems[0].domain if problems else "general"
    return Benchmark(name, modality, domain, tuple(problems), role, tuple(broken), instruction, scorer=scorer)


def returned_problems(entry: PythonBenchmark) -> list[Problem]:
    try:
        found = load_function(entry.function)()
        problems = list(found) if isinstance(found, Iterable) else [found]
    except Exception as error:  # a user's code may raise anything
        said = str(error) if type(error) is ValueError else error_in_words(error, __file__)
        raise ValueError(f"benchmark {entry.name}: {entry.function}: {said}") from None
    for problem in problems:
        if not isinstance(problem, Problem):
            raise ValueError(
                f"benchmark {entry.name}: {entry.function} returned {problem!r:.80}; "
                "an iterable of xreasoner.Problem is needed"
            )
    return problems


def with_sound_pictures(problem: Problem) -> Problem:
    """Upright and of a bearable size, as those of any benchmark."""
    sound = Pictures().of_item(picture.encoded for picture in problem.pictures)
    parts = [next(sound) if isinstance(part, Picture) else part for part in problem.question]
    return replace(problem, question=tuple(parts), reasoning="")
