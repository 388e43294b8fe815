"""The cost of an evaluation besides the model: our runner against inspect_ai, with an instant engine.

Both ask the same 1,000 questions with four options, get the same reply (in the format each expects), grade
it, write every sample to disk and compute the accuracy. inspect_ai runs in its own environment. Each side is
timed inside its process, without imports, with its best settings.

Run: python benchmarks/eval_overhead.py --inspect-python /path/to/venv/bin/python [--items 1000] [--rounds 5]
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from side_by_side import CLOCKS, alternate, entry, record
from xreasoner.evals.runner import evaluate
from xreasoner.evals.task import Benchmark, Task
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader

PEER = Path(__file__).parent / "peers" / "inspect_overhead.py"


def make_items(count: int) -> list[dict[str, object]]:
    rng, items = random.Random(0), list[dict[str, object]]()
    for number in range(count):
        choices = [f"the answer {rng.randint(0, 10**6)}" for _ in range(4)]
        question = f"Question {number}: " + " ".join(str(rng.randint(0, 999)) for _ in range(60))
        items.append({"question": question, "choices": choices, "key": rng.choice("ABCD")})
    return items


class Answers:
    """An instant engine: 200 words of thought, then the first option."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        text = f"<think>{'so ' * 200}</think><answer>A</answer>"
        for prompt in prompts:
            yield Rollout(prompt.id, 0, (), (), (), (), text, "eos", False, 200)


def ours(items: list[dict[str, object]], clock: str) -> float:
    problems = tuple(
        Problem(f"q{i}", (str(one["question"]),), str(one["key"]), "choice", tuple(one["choices"]))  # type: ignore[arg-type]
        for i, one in enumerate(items)
    )
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        out = Path(folder) / "evals" / "model"
        task = Task(Benchmark("q", "text", "general", problems), Sampling(), out, out.parent / "pictures")
        began = CLOCKS[clock]()
        result = evaluate(task, Answers(), grader, lambda progress: None)
        took = CLOCKS[clock]() - began
    wanted = sum(one["key"] == "A" for one in items) / len(items)
    assert abs(result.accuracy - wanted) < 1e-9
    return len(items) / took


def theirs(items: list[dict[str, object]], python: Path, clock: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.json"
        path.write_text(json.dumps(items))
        command = [str(python), str(PEER), str(path), folder, clock]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    wanted = sum(one["key"] == "A" for one in items) / len(items)
    assert abs(found["accuracy"] - wanted) < 1e-9
    return len(items) / float(found["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inspect-python", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    wanted = parser.parse_args()
    items = make_items(wanted.items)
    command = [str(wanted.inspect_python), "-c", "import inspect_ai; print(inspect_ai.__version__)"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    unit = "samples/CPU second" if wanted.clock == "cpu" else "samples/s"
    own, others = alternate(
        lambda: ours(items, wanted.clock),
        {"inspect_ai": lambda: theirs(items, wanted.inspect_python, wanted.clock)},
        wanted.rounds,
        unit,
    )
    name = "evaluation overhead, zero-cost engine"
    peer = f"inspect_ai {version}"
    found = entry(name, own, others["inspect_ai"], peer, unit, "20x", higher_is_better=True)
    options = f"--inspect-python PYTHON --rounds {wanted.rounds} --clock {wanted.clock}"
    record([found | {"command": f"python benchmarks/eval_overhead.py {options}"}])


if __name__ == "__main__":
    main()
