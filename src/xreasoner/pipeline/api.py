"""The package from Python: run a recipe, open an engine, evaluate a model on problems of your own."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console

from xreasoner.evals.benchmarks.python_function import benchmark_from
from xreasoner.evals.display import silent
from xreasoner.evals.eval_options import INSTRUCTION
from xreasoner.evals.runner import evaluate as evaluate_task
from xreasoner.evals.scorer import Scorer
from xreasoner.evals.summary import Result
from xreasoner.evals.task import Task
from xreasoner.models.resolve import resolve_model
from xreasoner.parallel import join_world
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import Evaluation, Recipe
from xreasoner.records import Problem, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.choose import open_engine
from xreasoner.rollout.engine import Engine


def run(recipe: str | Path | Recipe, *overrides: str, quiet: bool = False) -> Path:
    """Train and evaluate all stages, as `xreasoner run` does, in this process. Returns the run directory."""
    wanted = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe), overrides)
    if isinstance(recipe, Recipe) and overrides:
        raise ValueError("run: overrides are for a recipe's file; change the Recipe itself")
    run_recipe(wanted, Console(quiet=quiet))
    return wanted.run_dir


def load_engine(model: str | Path, evaluation: Evaluation | None = None) -> Engine:
    """What generates answers: the torch engine or vLLM, as `evaluation.engine` says."""
    checkpoint, device = resolve_model(str(model)), join_world().device
    return open_engine(checkpoint, evaluation or Evaluation(), device, lambda: None)


def evaluate(
    model: str | Path | Engine,
    problems: Iterable[Problem],
    out: str | Path,
    *,
    name: str = "benchmark",
    instruction: str | None = INSTRUCTION,
    sampling: Sampling | None = None,
    scorer: str | None = None,
) -> Result:
    """Accuracy with its interval, and what an accuracy hides. `out` keeps the answers for the next time.

    `scorer` names a function that grades in place of our grader: `my_bench.py:score`.
    """
    engine = load_engine(model) if isinstance(model, (str, Path)) else model
    with ExitStack() as stack:
        grader = stack.enter_context(Grader())
        own = stack.enter_context(closing(Scorer(scorer, 60.0))) if scorer else None
        benchmark = benchmark_from(problems, name, "skill", own, instruction)
        task = Task(benchmark, sampling or Sampling(), Path(out), Path(out) / "pictures")
        return evaluate_task(task, engine, grader, silent)
