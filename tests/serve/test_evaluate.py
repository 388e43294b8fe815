"""An evaluation gives the same answers in process and through the server."""

from pathlib import Path

import pytest

from xreasoner.evals.runner import evaluate
from xreasoner.evals.samples import read_samples
from xreasoner.evals.task import Benchmark, Task
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import Loaded
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.server_engine.engine import ServerEngine
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.serve.http_server import HttpServer

SAMPLING = Sampling(think_budget=24, answer_budget=12)


def answers(engine: Engine, benchmark: Benchmark, out: Path) -> list[tuple[object, ...]]:
    with Grader() as grader:
        task = Task(benchmark, SAMPLING, out, out / "pictures")
        evaluate(task, engine, grader, lambda progress: None)
    return [
        (one.problem_id, one.score, one.forced, one.stop, one.think_tokens, one.text.split())
        for one in read_samples(task.samples_path)
    ]


@pytest.mark.parametrize("exit_by", ["auto", "again"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_the_same_greedy_answers(
    miniworld: Loaded, server: HttpServer, tmp_path: Path, modality: str, exit_by: str
) -> None:
    problems = [
        problem
        for family in ("sums", "labs")
        for problem in make_problems(family, modality, (1, 3), 5, "test", 3)  # type: ignore[arg-type]
    ]
    benchmark = Benchmark("mini", modality, "general", tuple(problems))  # type: ignore[arg-type]
    remote = ServerEngine(ServerSettings(url=f"{server.url}/v1", model="mini", exit_by=exit_by))  # type: ignore[arg-type]
    here = answers(TorchEngine(miniworld), benchmark, tmp_path / "here")
    assert here == answers(remote, benchmark, tmp_path / "there")
    assert len({tuple(row[-1]) for row in here}) > 3  # type: ignore[arg-type]
