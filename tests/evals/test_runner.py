"""An interrupted evaluation resumes: the same bytes at the end, and nothing asked twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evals.scripted import Killed, ScriptedEngine, problem

from xreasoner.evals.display import Tally
from xreasoner.evals.runner import answer, conclude, evaluate
from xreasoner.evals.samples import read_answers, read_samples
from xreasoner.evals.summary import Result
from xreasoner.evals.task import Benchmark, Broken, RankShard, Task
from xreasoner.pipeline.evaluate import in_words
from xreasoner.records import Sampling
from xreasoner.rewards.grade import Grader

TEN = Benchmark("sums", "text", "general", tuple(problem(i) for i in range(10)))


def says(prompt_id: str, sample: int) -> str:
    """Item 3 is forced and wrong, 5 has no answer, 7 stays in its thought, the others are right."""
    number = int(prompt_id[1:4])
    special = {3: "<think> a forced </think><answer>0</answer>", 5: "<think> b </think>", 7: "<think> c d"}
    return special.get(number, f"<think> n plus one </think><answer>{number + 1}</answer>")


def run(
    engine: ScriptedEngine,
    out: Path,
    sampling: Sampling | None = None,
    benchmark: Benchmark = TEN,
    seen: list[Tally] | None = None,
) -> Result:
    with Grader() as grader:
        report = seen.append if seen is not None else lambda _: None
        return evaluate(task(out, sampling or Sampling(), benchmark), engine, grader, report)


def task(out: Path, sampling: Sampling, benchmark: Benchmark = TEN) -> Task:
    return Task(benchmark, sampling, out, out.parent / "pictures")


def test_the_result_counts_what_happened(tmp_path: Path) -> None:
    seen: list[Tally] = []
    result = run(ScriptedEngine(says), tmp_path / "base", seen=seen)
    assert (result.n, result.scored, result.accuracy) == (10, 10, 0.7)
    assert (result.low, result.high) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert (result.forced, result.missing, result.unscored) == (0.1, 0.2, 0.0)
    assert result.mean_think_tokens == pytest.approx((7 * 4 + 3 + 2 + 3) / 10)
    assert json.loads((tmp_path / "base/sums.json").read_text())["accuracy"] == 0.7
    assert [progress.done for progress in seen] == list(range(11))
    last = seen[-1]
    assert (last.total, last.accuracy, last.forced, last.missing, last.unscored) == (10, 0.7, 1, 2, 0)


def test_lines_stand_in_the_order_of_the_benchmark_and_say_why(tmp_path: Path) -> None:
    run(ScriptedEngine(says), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "sums.jsonl").read_text().splitlines()]
    assert [line["problem_id"] for line in lines] == [one.id for one in TEN.problems]
    assert lines[7]["score"]["why"] == "the thought is never closed"
    assert lines[3]["score"]["extracted"] == "0" and lines[3]["forced"]
    problems = [json.loads(line) for line in (tmp_path / "problems/sums.jsonl").read_text().splitlines()]
    assert [line["id"] for line in problems] == [one.id for one in TEN.problems]
    assert (problems[3]["answer"], problems[0]["tags"]) == ("4", {"family": "sums", "steps": 1})


@pytest.mark.parametrize("killed_after", [0, 1, 4, 9])
def test_killed_and_resumed_equals_unbroken_byte_for_byte(tmp_path: Path, killed_after: int) -> None:
    run(ScriptedEngine(says), tmp_path / "unbroken")
    first = ScriptedEngine(says, killed_after=killed_after)
    with pytest.raises(Killed):
        run(first, tmp_path / "broken")
    assert len(list(read_samples(tmp_path / "broken/sums.jsonl"))) == killed_after
    second = ScriptedEngine(says)
    run(second, tmp_path / "broken")
    assert len(second.asked) == 10 - killed_after
    assert not set(first.asked[:killed_after]) & set(second.asked)
    for name in ("sums.jsonl", "sums.json", "problems/sums.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path) -> None:
    run(ScriptedEngine(says), tmp_path / "unbroken")
    whole = (tmp_path / "unbroken/sums.jsonl").read_bytes()
    for cut in (1, 40, 200):
        out = tmp_path / f"torn{cut}"
        out.mkdir()
        (out / "sums.jsonl").write_bytes(whole[:-cut])
        engine = ScriptedEngine(says)
        run(engine, out)
        assert engine.asked == [TEN.problems[-1].id]
        assert (out / "sums.jsonl").read_bytes() == whole


def test_a_finished_evaluation_asks_nothing(tmp_path: Path) -> None:
    first = run(ScriptedEngine(says), tmp_path)
    again = ScriptedEngine(says)
    assert run(again, tmp_path) == first
    assert again.asked == []


def test_other_budgets_another_instruction_or_another_question_are_asked_anew(tmp_path: Path) -> None:
    run(ScriptedEngine(says), tmp_path)
    other = ScriptedEngine(says)
    run(other, tmp_path, Sampling(think_budget=7))
    assert len(other.asked) == 10
    one_changed = Benchmark("sums", "text", "general", (*TEN.problems[:9], problem(10)))
    grown = ScriptedEngine(says)
    run(grown, tmp_path, Sampling(think_budget=7), one_changed)
    assert grown.asked == ["p010-text"]
    assert len(list(read_samples(tmp_path / "sums.jsonl"))) == 10


def test_several_samples_count_as_one_item(tmp_path: Path) -> None:
    def half(prompt_id: str, sample: int) -> str:
        return says("p000", 0).replace(">1<", f">{int(prompt_id[1:4]) + 1 + sample}<")

    first = ScriptedEngine(half, killed_after=5)
    with pytest.raises(Killed):
        run(first, tmp_path, Sampling(n=2))
    resumed = ScriptedEngine(half)
    result = run(resumed, tmp_path, Sampling(n=2))
    assert (result.n, result.accuracy) == (10, 0.5)
    assert (result.low, result.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert len(resumed.asked) == 8
    keys = [sample.key for sample in read_samples(tmp_path / "sums.jsonl")]
    assert keys == [(one.id, sample) for one in TEN.problems for sample in (0, 1)]


def test_each_picture_is_kept_once_for_all_stages(tmp_path: Path) -> None:
    images = Benchmark("sums-image", "image", "general", tuple(problem(i, picture=True) for i in range(3)))
    for stage in ("base", "sft"):
        run(ScriptedEngine(says), tmp_path / stage, benchmark=images)
    kept = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert len(kept) == 3 and all(name.endswith(".png") for name in kept)
    problems = list(read_answers(tmp_path / "sft/sums-image.jsonl").problems.values())
    assert sorted(one.pictures[0] for one in problems) == kept
    assert problems[0].question == "<image> read it"


def test_an_engine_that_leaves_answers_out_is_reported(tmp_path: Path) -> None:
    class Lazy(ScriptedEngine):
        def generate(self, prompts, sampling):  # type: ignore[no-untyped-def]
            return super().generate(prompts[1:], sampling)

    with pytest.raises(ValueError, match="left out 1 of 10 answers"):
        run(Lazy(says), tmp_path)


def test_unscored_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    class Failing(Grader):
        def score_many(self, pairs):  # type: ignore[no-untyped-def]
            from xreasoner.records import Score

            bad = pairs[0][0].id == "p001-text"
            return (
                [Score(None, "1", "the grader took more than 5 seconds")]
                if bad
                else super().score_many(pairs)
            )

    with Failing() as grader:
        result = evaluate(task(tmp_path, Sampling()), ScriptedEngine(says), grader, lambda _: None)
    assert (result.n, result.scored, result.unscored) == (10, 9, 0.1)
    assert result.accuracy == pytest.approx(6 / 9)


def test_a_benchmark_refuses_twin_ids_and_names_that_are_no_file_names() -> None:
    with pytest.raises(ValueError, match="belongs to more than one problem"):
        Benchmark("sums", "text", "general", (problem(1), problem(1)))
    with pytest.raises(ValueError, match="use letters, digits"):
        Benchmark("../sums", "text", "general", (problem(1),))
    with pytest.raises(ValueError, match="has no problems"):
        Benchmark("sums", "text", "general", ())


def test_what_cannot_be_asked_is_recorded_and_stops_nobody(tmp_path: Path) -> None:
    class Refusing(ScriptedEngine):
        def generate(self, prompts, sampling):  # type: ignore[no-untyped-def]
            for rollout in super().generate(prompts, sampling):
                refused = rollout.prompt_id == "p002-text"
                yield replace(rollout, text="", trouble="a picture cannot be read") if refused else rollout

    with_gap = replace(TEN, broken=(Broken("p999", "the image is missing"),))
    result = run(Refusing(says), tmp_path, benchmark=with_gap)
    assert (result.n, result.scored, result.unscored) == (11, 9, 0.0)
    assert result.accuracy == pytest.approx(6 / 9)
    assert result.broken == pytest.approx(2 / 11)
    samples = list(read_samples(tmp_path / "sums.jsonl"))
    why = {sample.problem_id: sample.score.why for sample in samples if sample.broken}
    assert why == {"p002-text": "a picture cannot be read", "p999": "the image is missing"}
    again = Refusing(says)
    assert run(again, tmp_path, benchmark=with_gap) == result
    assert again.asked == []


def test_ranks_answer_their_share_and_one_of_them_concludes(tmp_path: Path) -> None:
    run(ScriptedEngine(says), tmp_path / "alone" / "base")
    shared = task(tmp_path / "shared" / "base", Sampling())
    asked = []
    with Grader() as grader:
        for rank in (2, 0, 1):
            engine = ScriptedEngine(says)
            answer(shared, engine, grader, lambda _: None, RankShard(rank, 3))
            asked.append(sorted(int(name[1:4]) for name in engine.asked))
        assert asked == [[2, 5, 8], [0, 3, 6, 9], [1, 4, 7]]
        # A kill before the end, and fewer processes the next time: nothing is asked again.
        for rank in (0, 1):
            again = ScriptedEngine(says)
            answer(shared, again, grader, lambda _: None, RankShard(rank, 2))
            assert again.asked == []
    conclude(shared)
    for name in ("sums.jsonl", "sums.json", "problems/sums.jsonl"):
        whole = (tmp_path / "alone" / "base" / name).read_bytes()
        assert (shared.out / name).read_bytes() == whole


def test_a_summary_tells_cut_answers_and_the_rules_by_which_answers_were_found(tmp_path: Path) -> None:
    replies = {0: "<answer>1</answer>", 1: "So it is \\boxed{2}", 2: "The answer is 3", 3: "<think>Let me"}

    class Cutting(ScriptedEngine):
        def generate(self, prompts, sampling):  # type: ignore[no-untyped-def]
            for rollout in super().generate(prompts, sampling):
                yield replace(rollout, stop="length" if rollout.prompt_id == "p003-text" else "eos")

    four = Benchmark("sums", "text", "general", TEN.problems[:4])
    result = run(Cutting(lambda name, _: replies[int(name[1:4])]), tmp_path, benchmark=four)
    assert (result.accuracy, result.cut, result.missing) == (0.75, 0.25, 0.25)
    assert result.rules == {"box": 0.25, "lead": 0.25, "tag": 0.25}
    assert "25% cut" in in_words(result)
