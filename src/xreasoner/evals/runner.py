"""Answer and grade a benchmark. An interrupted run loses only the answers in flight."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from xreasoner.chat.template import problem_prompt
from xreasoner.evals.display import Show, Tally
from xreasoner.evals.samples import (
    Answers,
    KeptProblem,
    Key,
    Sample,
    kept_problem,
    problems_path,
    to_line,
    write_finished,
    write_problems,
)
from xreasoner.evals.summary import Result, result_of
from xreasoner.evals.task import ALONE, Broken, RankShard, Task, picture_name
from xreasoner.evals.token_codes import token_codes
from xreasoner.records import Picture, Problem, Prompt, Rollout, Score
from xreasoner.rewards.functions import reply_of
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine, PartialRollout, resume_rollouts
from xreasoner.rollout.refused import watched
from xreasoner.storage.checked_json import drop_damaged_lines
from xreasoner.storage.disk import LineFile
from xreasoner.storage.files import write_atomically
from xreasoner.storage.journal import Say

AnswerKeys = Callable[[Sequence[Key]], Iterable[Sample]]
"""From the keys still to be answered to their samples, as they come."""


def evaluate(task: Task, engine: Engine, grader: Grader, show: Show) -> Result:
    """Writes `<name>.jsonl` as it goes and `<name>.json` at the end; resumes what is there."""
    answer(task, engine, grader, show)
    return conclude(task)


def answer(
    task: Task, engine: Engine, grader: Grader, show: Show, shard: RankShard = ALONE, say: Say = print
) -> None:
    def answers(open_keys: Sequence[Key]) -> Iterator[Sample]:
        for problem, rollout in ask(task, engine, open_keys, say):
            yield graded(task, grader, problem, rollout, say)

    write_down(task, shard, show, answers)


def write_down(task: Task, shard: RankShard, show: Show, answers: AnswerKeys) -> None:
    """Flushes each sample before it waits for the next one."""
    path = task.shard_path(shard)
    if path.exists():
        drop_damaged_lines(path)
    done, keys = {sample.key: sample for sample in task.answers()}, task.keys(shard)
    tally = Tally(task.benchmark.name, total=len(keys))
    for key in keys:
        tally = tally.plus(done[key]) if key in done else tally
    show(tally)
    with LineFile(path) as lines:
        for sample in answers([key for key in keys if key not in done]):
            lines.write(to_line(sample))
            tally = tally.plus(sample)
            show(tally)


def ask(task: Task, engine: Engine, open_keys: Sequence[Key], say: Say) -> Iterator[tuple[Problem, Rollout]]:
    """Whole problems first, then the missing samples of partly answered ones."""
    problems = {problem.id: problem for problem in task.benchmark.problems}
    lacking: dict[str, list[int]] = defaultdict(list)
    for problem_id, sample in open_keys:
        lacking[problem_id].append(sample)

    def prompt_of(problem_id: str) -> Prompt:
        return problem_prompt(problems[problem_id], task.benchmark.instruction)

    whole = [prompt_of(one) for one, samples in lacking.items() if len(samples) == task.sampling.n]
    parts = [
        PartialRollout(prompt_of(one), sample)
        for one, samples in lacking.items()
        for sample in samples
        if len(samples) < task.sampling.n
    ]
    for rollout in watched(engine.generate(whole, task.sampling), task.sampling, say) if whole else ():
        yield problems[rollout.prompt_id], rollout
    for rollout in resume_rollouts(engine, parts, task.sampling):
        yield problems[rollout.prompt_id], rollout


def graded(task: Task, grader: Grader, problem: Problem, rollout: Rollout, say: Say = print) -> Sample:
    score = grader.score(problem, rollout.text) if not rollout.trouble else Score(None, None, rollout.trouble)
    if (scorer := task.benchmark.scorer) and not rollout.trouble:
        limit = task.sampling.think_budget + task.sampling.answer_budget
        score = scorer.score(problem, reply_of(rollout, score, limit), say)
    return Sample(
        problem_id=problem.id,
        epoch=rollout.sample,
        asked=task.asked[problem.id],
        score=score,
        forced=rollout.forced_exit,
        stop=rollout.stop,
        think_tokens=rollout.think_tokens,
        text=rollout.text,
        broken=bool(rollout.trouble),
        tokens=rollout.token_ids if task.keeps_tokens else (),
        token_codes=token_codes(rollout, task.pieces) if task.pieces else "",
    )


def conclude(task: Task) -> Result:
    """Writes samples in the benchmark's order: a resumed run ends with the same bytes as an unbroken one."""
    done, wanted = {sample.key: sample for sample in task.answers()}, task.keys(ALONE)
    lost = [key for key in wanted if key not in done]
    if lost:
        raise ValueError(
            f"benchmark {task.benchmark.name}: the engine left out {len(lost)} of {len(wanted)} answers, "
            f"the first one sample {lost[0][1]} of {lost[0][0]}; run again to get them"
        )
    samples = [*(done[key] for key in wanted), *map(broken_sample, task.benchmark.broken)]
    answers = Answers(keep_problems(task), tuple(samples))
    result = result_of(task.benchmark, task.sampling, answers)
    write_finished(task.samples_path, samples, asdict(result))
    for path in task.other_shards():
        path.unlink()
    return result


def broken_sample(broken: Broken) -> Sample:
    """An item that could not be made into a question."""
    score = Score(None, None, broken.why)
    return Sample(broken.id, 0, "", score, False, "eos", 0, "", broken=True)


def keep_problems(task: Task) -> dict[str, KeptProblem]:
    """Writes each problem once, beside the samples."""
    kept = [
        kept_problem(problem, [keep_picture(picture, task.pictures) for picture in problem.pictures])
        for problem in task.benchmark.problems
    ]
    kept += [KeptProblem(Problem(one.id, ("",), "", "exact", item=one.id)) for one in task.benchmark.broken]
    write_problems(problems_path(task.samples_path), kept)
    return {one.problem.id: one for one in kept}


def keep_picture(picture: Picture, folder: Path) -> str:
    """Writes the picture if no stage has done so yet. Its name is the hash of its content."""
    name = picture_name(picture)
    if not (folder / name).is_file() or (folder / name).read_bytes() != picture.encoded:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, picture.encoded)
    return name
