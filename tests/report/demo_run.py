"""A run directory with invented answers to real mini-world problems, to test the report on."""

import json
import random
from pathlib import Path

from tests.evals.scripted import rollout

from xreasoner.evals.comparisons import blind
from xreasoner.evals.runner import evaluate
from xreasoner.evals.task import Benchmark, Task
from xreasoner.miniworld.problems import make_problems
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.storage.run_folder import Manifest

SKILL = {"base": 0.1, "sft": 0.62, "rl": 0.75}
WORDS = {"base": 0.12, "sft": 0.74, "rl": 0.9}
EYES = {"base": 0.98, "sft": 0.97, "rl": 0.95}


class Invented:
    """Right with a given chance; thoughts of trained stages are long, and now and then forced or lost."""

    def __init__(self, problems: tuple[Problem, ...], stage: str, chance: float) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self.stage, self.chance = stage, chance

    def generate(self, prompts: list[Prompt], sampling: Sampling):  # type: ignore[no-untyped-def]
        for prompt in prompts:
            yield self.answer(self.problems[prompt.id])

    def answer(self, problem: Problem) -> Rollout:
        rng = random.Random(f"{self.stage} {problem.id}")
        harder = 0.8 ** (int(problem.tags["steps"]) - 2) if self.chance < 0.9 else 1.0
        answer = problem.answer if rng.random() < self.chance * harder else "9 7"
        thought = problem.reasoning if self.stage != "base" else ""
        if rng.random() < 0.05 and self.stage == "sft":
            return rollout(
                problem.id,
                0,
                f"<think>\n{thought} forced again and again\n</think>\n<answer>{answer}</answer>",
            )
        if rng.random() < 0.03 and self.stage != "base":
            return rollout(
                problem.id,
                0,
                f"<think>\n{thought} \n</think>\n and so ...\nit goes <script>alert(1)</script>",
            )
        return rollout(problem.id, 0, f"<think>\n{thought}\n</think>\n<answer>{answer}</answer>")


def benchmarks(count: int) -> list[Benchmark]:
    made = []
    for family, domain in (
        ("sums", "general"),
        ("bars", "general"),
        ("shapes", "general"),
        ("labs", "clinical"),
    ):
        for view in ("image", "text"):
            problems = tuple(make_problems(family, view, (2, 5), count, "test", 0))  # type: ignore[arg-type]
            made.append(Benchmark(f"{family}-{view}", view, domain, problems))  # type: ignore[arg-type]
        seeing = tuple(make_problems(family, "image", (1, 1), min(count, 20), "test", 0))
        made.append(Benchmark(f"see-{family}", "image", domain, seeing, "perception"))
    made.append(blind(made[3]))
    return made


def make_run(run_dir: Path, count: int = 24, stages: tuple[str, ...] = ("base", "sft", "rl")) -> Path:
    for number, stage in enumerate(stages):
        for benchmark in benchmarks(count):
            chance = {"skill": SKILL if benchmark.modality == "image" else WORDS, "perception": EYES}.get(
                benchmark.role, dict.fromkeys(SKILL, 0.2)
            )
            engine = Invented(benchmark.problems, stage, chance[stage])
            with Grader() as grader:
                out = run_dir / "evals" / stage
                task = Task(benchmark, Sampling(), out, run_dir / "evals" / "pictures")
                evaluate(task, engine, grader, lambda _: None)
        if number:
            write_metrics(run_dir / "stages" / f"{number}-{stage}", stage)
    (run_dir / "recipe.yaml").write_text("name: quickstart\nseed: 0\n")
    return run_dir


def write_metrics(folder: Path, stage: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(stage)
    rows = [
        {
            "step": step,
            "loss": 3 / step**0.5 + rng.random() / 5,
            "lr": 1e-3 * (1 - step / 101),
            "grad_norm": rng.random(),
        }
        | ({"reward": step / 150 + rng.random() / 9, "think_tokens": 90 - step / 3} if stage == "rl" else {})
        for step in range(1, 101)
    ]
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 101, "lo'
    )
    Manifest({"start": "base"}, "done", 61.5).write(folder)
