"""Distillation from a real server: what is kept, what a kill costs, and that no question is asked twice."""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.data import true_schemas as schemas
from tests.evals.scripted import Killed
from tests.forked import Command, call
from tests.rollout.chat_server import Body, ChatServer, ServerReply, serving

from xreasoner.data.candidates import Candidate
from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.sources import training_problems
from xreasoner.distill.distill import DistillationSummary, distill
from xreasoner.distill.settings import Distillation, read_distillation
from xreasoner.distill.teacher import teacher_engine
from xreasoner.recipe.training_data import JsonlData, TableData
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine


def medqa_file(folder: Path, count: int = 6) -> Path:
    rows = [
        schemas.medqa(
            f"Patient number {i} asks: which drug?", ["Aspirin", "Heparin", "Iron", "Zinc"], "ABCD"[i % 4]
        )
        for i in range(count)
    ]
    return schemas.write_jsonl(folder / "medqa.jsonl", rows)


def teach(body: Body) -> ServerReply:
    """Right for even seeds, and longer the larger the seed; patient 3 only when the answer is told."""
    question, seed = body["messages"][-1]["content"], body["seed"]
    number = int(re.search(r"number (\d+)", question).group(1))  # type: ignore[union-attr]
    told = "known to be" in question
    right = told or (seed % 2 == 0 and number != 3)
    letter = "ABCD"[number % 4] if right else "ABCD"[(number + 1) % 4]
    words = " ".join(["so"] * (1 + seed % 17))
    return ServerReply(f"<answer>{letter}</answer>", reasoning=f"Patient {number}: {words} I think.")


def settings(folder: Path, url: str, **changes: Any) -> Distillation:
    raw = {
        "name": "d",
        "out": str(folder / "out"),
        "teacher": {
            "kind": "server",
            "url": url,
            "model": "teacher",
            "concurrency": 3,
            "dollars": [1.0, 10.0],
        },
        "data": [{"source": "medqa", "path": str(folder / "medqa.jsonl")}],
        "samples": 4,
    } | changes
    (folder / "d.yaml").write_text(yaml.safe_dump(raw))
    return read_distillation(folder / "d.yaml")


def run(wanted: Distillation, engine: Engine | None = None) -> DistillationSummary:
    with Grader() as grader:
        return distill(wanted, engine or teacher_engine(wanted.teacher), grader, lambda line: None)


def thoughts(wanted: Distillation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (wanted.folder / "thoughts.jsonl").read_text().splitlines()]


def answers(wanted: Distillation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (wanted.folder / "answers.jsonl").read_text().splitlines()]


def asked_questions(server: ChatServer) -> Counter[tuple[str, int]]:
    return Counter((body["messages"][-1]["content"], body["seed"]) for body in server.requests)


def test_the_shortest_right_thought_of_each_question_is_kept(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        wanted = settings(tmp_path, server.url)
        summary = run(wanted)
    right: dict[str, list[int]] = {}
    for answer in answers(wanted):
        if answer["usable"]:
            right.setdefault(answer["problem"], []).append(answer["completion_tokens"])
    kept = thoughts(wanted)
    assert {row["id"]: row["tokens"] for row in kept} == {key: min(lengths) for key, lengths in right.items()}
    assert summary.questions == 6
    assert summary.solved == len(kept) == len(right) < 6
    assert summary.answers == len(server.requests) == 24
    assert summary.prompt_tokens == 240
    assert summary.dollars == pytest.approx((240 * 1.0 + summary.completion_tokens * 10.0) / 1e6)


def test_all_right_thoughts_can_be_kept_without_asking_again(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        run(settings(tmp_path, server.url))
        wanted = settings(tmp_path, server.url, keep="all")
        run(wanted)
        assert len(server.requests) == 24
    usable = [answer for answer in answers(wanted) if answer["usable"]]
    assert len({row["id"] for row in thoughts(wanted)}) == len(thoughts(wanted)) == len(usable)


def test_more_samples_ask_only_for_those(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        run(settings(tmp_path, server.url, samples=1))
        run(settings(tmp_path, server.url, samples=3))
    assert set(asked_questions(server).values()) == {1}
    assert len(server.requests) == 18


def test_the_hint_solves_what_is_left(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        wanted = settings(tmp_path, server.url, hint=True)
        summary = run(wanted)
    told = [body for body in server.requests if "known to be: D: Zinc" in body["messages"][-1]["content"]]
    assert len(told) == 4
    assert summary.solved == 6
    hinted = [row for row in thoughts(wanted) if row["hinted"]]
    assert summary.solved_with_hint == len(hinted) >= 1
    assert not any("known to be" in row["question"] for row in thoughts(wanted))


def test_a_thought_that_mentions_the_hint_is_not_kept(tmp_path: Path) -> None:
    medqa_file(tmp_path, count=1)

    def parrot(body: Body) -> ServerReply:
        told = "known to be" in body["messages"][-1]["content"]
        letter = "A" if told else "B"
        thought = "The given answer is A, so A." if body["seed"] % 2 else "It thins the blood."
        return ServerReply(f"<answer>{letter}</answer>", thought)

    with serving(parrot) as server:
        wanted = settings(tmp_path, server.url, hint=True, samples=8, keep="all")
        run(wanted)
    why = Counter(
        answer["why"] for answer in answers(wanted) if answer["round"] == 1 and not answer["usable"]
    )
    assert list(why) == ["correct, but mentions the hint: given answer"]
    assert 1 <= len(thoughts(wanted)) == 8 - why.total()
    assert {row["reasoning"] for row in thoughts(wanted)} == {"It thins the blood."}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ServerReply("<answer>A</answer>"), "correct, but without a thought"),
        (ServerReply("<answer>A</answer>", "t", finish="length"), "correct, but truncated"),
        (ServerReply("<answer>A</answer>", "a <think> b"), "correct, but with a tag in the thought"),
        (ServerReply("<think>\nwell\n</think>\n<answer>A</answer>"), None),
        (ServerReply("well, then\n</think>\n<answer>A</answer>"), None),
        (ServerReply("no content", status=400), "400: "),
    ],
)
def test_what_can_be_learned_from(tmp_path: Path, said: ServerReply, why: str | None) -> None:
    medqa_file(tmp_path, count=1)
    with serving(lambda body: said) as server:
        wanted = settings(tmp_path, server.url, samples=1)
        run(wanted)
    (answer,) = answers(wanted)
    assert answer["usable"] is (why is None)
    assert answer["why"].startswith(why or "")
    assert [row["reasoning"] for row in thoughts(wanted)] == (
        [] if why else [answer["text"].split("</think>")[0].removeprefix("<think>").strip()]
    )


def test_what_was_distilled_is_data_of_a_recipe(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        wanted = settings(tmp_path, server.url, hint=True)
        run(wanted)
    path = wanted.folder / "thoughts.jsonl"
    strict = training_problems([JsonlData(source="jsonl", path=path)], 0)
    found = list(read_corpus(TableData(source="table", path=str(path))))
    lenient = [one.problem for one in found if isinstance(one, Candidate)]
    for problems in (strict, lenient):
        assert [(p.answer, len(p.choices), p.kind) for p in problems] == [
            ("ABCD"[i % 4], 4, "choice") for i in range(6)
        ]
        assert all(p.reasoning.startswith("Patient") for p in problems)


def test_another_teacher_or_another_way_of_asking_is_not_mixed_in(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    with serving(teach) as server:
        run(settings(tmp_path, server.url))
        with pytest.raises(ValueError, match=r"holds another distillation \(temperature was 0\.6, is 0\.9\)"):
            run(settings(tmp_path, server.url, temperature=0.9))
        run(settings(tmp_path, server.url, keep="all"))


def test_a_rate_limit_is_waited_out_and_progress_says_what_was_spent(tmp_path: Path) -> None:
    medqa_file(tmp_path)
    refused, heard = iter(range(4)), []

    def busy(body: Body) -> ServerReply:
        limited = next(refused, None) is not None
        return (
            ServerReply("slow down", status=429, headers={"Retry-After": "0.1"}) if limited else teach(body)
        )

    with serving(busy) as server, Grader() as grader:
        wanted = settings(tmp_path, server.url, samples=2)
        summary = distill(wanted, teacher_engine(wanted.teacher), grader, heard.append)
    assert len(server.requests) == 12 + 4
    assert summary.answers == len(answers(wanted)) == 12
    assert [answer["why"] for answer in answers(wanted) if "429" in answer["why"]] == []
    (line,) = heard
    assert line.startswith("6 of 6 questions, ")
    assert f"120 prompt tokens, {summary.completion_tokens} answer tokens, 0.00 dollars" in line


def test_bad_rows_are_listed(tmp_path: Path) -> None:
    rows = [schemas.medqa("Patient number 0?", ["a", "b"], "A")] * 30 + [{"question": "q"}]
    schemas.write_jsonl(tmp_path / "medqa.jsonl", rows[-31:])
    with serving(teach) as server:
        wanted = settings(tmp_path, server.url, samples=1)
        summary = run(wanted)
    assert summary.left_out == {"no column 'options'": 1}
    assert json.loads((wanted.folder / "left_out.jsonl").read_text())["position"].endswith("medqa.jsonl:31")


class Dying:
    """Ends like a killed process after so many answers."""

    def __init__(self, engine: Engine, after: int) -> None:
        self._engine, self._left = engine, after

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        for rollout in self._engine.generate(prompts, sampling):
            if self._left == 0:
                raise Killed
            self._left -= 1
            yield rollout


def test_broken_off_anywhere_it_ends_the_same(tmp_path: Path) -> None:
    whole_folder, broken_folder = tmp_path / "whole", tmp_path / "broken"
    with serving(teach) as server:
        for folder in (whole_folder, broken_folder):
            folder.mkdir()
            medqa_file(folder)
        whole = settings(whole_folder, server.url, hint=True)
        run(whole)
        before = len(server.requests)
        broken = settings(broken_folder, server.url, hint=True)
        for after in (5, 9, 8):
            with pytest.raises(Killed):
                run(broken, Dying(teacher_engine(broken.teacher), after))
            with (broken.folder / "answers.jsonl").open("a") as file:
                file.write('{"problem": "medqa-0000')  # what a kill in the middle of a line leaves
        run(broken)
    for name in ("thoughts.jsonl", "summary.json"):
        assert (broken.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    # Only what was under way at the three breaks may have been asked again.
    assert len(server.requests) - before <= before + 3 * 4


@pytest.mark.slow
def test_a_run_killed_three_times_gives_the_same_file(tmp_path: Path) -> None:
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
        medqa_file(tmp_path / folder, count=30)
    with serving(teach, seconds=0.03) as server:
        settings(tmp_path / "whole", server.url, hint=True)
        assert call("distill", tmp_path / "whole" / "d.yaml").returncode == 0
        before = len(server.requests)
        settings(tmp_path / "killed", server.url, hint=True)
        for count in (20, 50, 80):
            kill_after(tmp_path / "killed", count)
        assert call("distill", tmp_path / "killed" / "d.yaml").returncode == 0
    whole, killed = (
        (tmp_path / folder / "out" / "thoughts.jsonl").read_bytes() for folder in ("whole", "killed")
    )
    assert whole.count(b"\n") == 30
    assert killed == whole
    assert before <= len(server.requests) - before <= before + 3 * 3


def kill_after(folder: Path, count: int) -> None:
    """Killed hard once so many answers are written."""
    process, answers = Command("distill", folder / "d.yaml"), folder / "out" / "answers.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if answers.exists() and answers.read_bytes().count(b"\n") >= count:
            process.kill()
            break
        time.sleep(0.005)
    done = process.wait()
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_checkpoint_can_teach(tiny_base: Path, tmp_path: Path) -> None:
    medqa_file(tmp_path, count=3)
    teacher = {"kind": "torch", "model": str(tiny_base)}
    wanted = settings(
        tmp_path, "", teacher=teacher, samples=2, think_budget=6, answer_budget=3, temperature=1.0
    )
    summary = run(wanted)
    assert summary.answers == 6
    assert 0 < summary.completion_tokens <= 6 * 9
    first = (wanted.folder / "answers.jsonl").read_text()
    run(wanted)
    assert (wanted.folder / "answers.jsonl").read_text() == first


def test_a_small_model_behind_a_server_answers_as_in_process(tiny_base: Path, tmp_path: Path) -> None:
    """The same greedy answers by HTTP and in process."""
    from xreasoner.models.load import load
    from xreasoner.recipe.settings import ServerSettings
    from xreasoner.records import Message
    from xreasoner.rollout.server_engine.engine import ServerEngine
    from xreasoner.rollout.torch_engine.engine import TorchEngine

    engine = TorchEngine(load(tiny_base))

    def says(body: Body) -> ServerReply:
        messages = tuple(Message(m["role"], (m["content"],)) for m in body["messages"])
        (rollout,) = engine.generate([Prompt("x", messages)], Sampling(think_budget=8, answer_budget=4))
        return ServerReply(rollout.text)

    prompts = [Prompt(str(i), (Message("user", (f"what is {i} + 2 ?",)),)) for i in range(3)]
    greedy = Sampling(think_budget=8, answer_budget=4)
    with serving(says) as server:
        remote = ServerEngine(ServerSettings(url=server.url, model="tiny", concurrency=1, exit_by="limit"))
        over_http = {r.prompt_id: r.text for r in remote.generate(prompts, greedy)}
    assert over_http == {r.prompt_id: r.text for r in engine.generate(prompts, greedy)}
