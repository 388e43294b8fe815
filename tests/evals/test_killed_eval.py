"""kill -9 during an evaluation of a real server, in a real process: nothing is asked twice."""

import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.forked import Command
from tests.rollout.chat_server import Body, ServerReply, serving

from xreasoner.evals.samples import read_samples

ITEMS, SAMPLES, AT_ONCE = 12, 2, 3
RECIPE = """
name: killed
model: asked
evaluation:
  think_budget: 64
  samples: {samples}
  temperature: 1.0
  benchmarks: [{{source: jsonl, name: sums, path: {path}, kind: exact}}]
  engine: server
  server: {{url: "{url}", model: asked, concurrency: {at_once}, exit_by: limit}}
"""


def question_of(body: Body) -> tuple[str, int]:
    """The question, and the seed that tells its samples apart."""
    return str(body["messages"][-1]["content"]), int(body["seed"])


@pytest.mark.slow
def test_what_was_answered_before_a_kill_is_never_asked_again(tmp_path: Path) -> None:
    problems, recipe, out = tmp_path / "sums.jsonl", tmp_path / "killed.yaml", tmp_path / "out"
    lines = [f'{{"question": "what is {i} + 1 ?", "answer": "{i + 1}"}}' for i in range(ITEMS)]
    problems.write_text("\n".join(lines) + "\n")
    running: list[Command] = []
    counted, lock = Counter[tuple[str, int]](), threading.Lock()

    def says(body: Body) -> ServerReply:
        with lock:
            counted[question_of(body)] += 1
            if counted.total() == 11 and len(running) == 1:
                running[0].kill()
        return ServerReply("<think>one more</think><answer>1</answer>")

    def ask() -> Command:
        running.append(Command("eval", "asked", "--recipe", recipe, "--out", out))
        return running[-1]

    with serving(says) as server:
        recipe.write_text(RECIPE.format(path=problems, url=server.url, samples=SAMPLES, at_once=AT_ONCE))
        assert ask().wait().returncode == -signal.SIGKILL
        kept = list(read_samples(out / "evals" / "asked" / "sums.jsonl"))
        wanted = ITEMS * SAMPLES
        assert 11 - 2 * AT_ONCE <= len(kept) < wanted
        done = ask().wait()
        assert done.returncode == 0, done.stderr
    again = [asked for (asked, _), times in counted.items() if times > 1]
    # Only what was under way when the process died: asked, and not on the disk.
    assert len(again) <= 2 * AT_ONCE
    # An id is the number of its line.
    question = {f"sums-{i + 1}": f"what is {i} + 1 ?" for i in range(ITEMS)}
    answered = Counter(question[sample.problem_id] for sample in kept)
    assert max((answered + Counter(again)).values()) <= SAMPLES
    assert counted.total() == wanted + len(again)
    samples = list(read_samples(out / "evals" / "asked" / "sums.jsonl"))
    assert len({sample.key for sample in samples}) == len(samples) == wanted
    assert set(map(repr, kept)) <= set(map(repr, samples))
