"""Ask an engine every problem of a benchmark and grade what it says; a kill costs the answers in flight."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from xreasoner.chat.template import problem_prompt
from xreasoner.evals.benchmark import Benchmark
from xreasoner.evals.samples import Sample, read_samples, to_line, write_samples
from xreasoner.evals.summary import Result, result_of
from xreasoner.files import drop_torn_line, write_atomically, write_json
from xreasoner.records import Picture, Problem, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine


@dataclass(frozen=True)
class Progress:
    """How far an evaluation has come, in answers."""

    benchmark: str
    total: int
    done: int = 0
    right: int = 0
    wrong: int = 0
    forced: int = 0
    missing: int = 0
    think_tokens: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def unscored(self) -> int:
        return self.done - self.right - self.wrong

    @property
    def mean_think_tokens(self) -> float:
        return self.think_tokens / max(1, self.done)

    def plus(self, sample: Sample) -> "Progress":
        return Progress(
            self.benchmark,
            self.total,
            done=self.done + 1,
            right=self.right + (sample.correct is True),
            wrong=self.wrong + (sample.correct is False),
            forced=self.forced + sample.forced,
            missing=self.missing + sample.missing,
            think_tokens=self.think_tokens + sample.think_tokens,
        )


def evaluate(
    engine: Engine,
    grader: Grader,
    benchmark: Benchmark,
    instruction: str | None,
    sampling: Sampling,
    out: Path,
    on_progress: Callable[[Progress], None],
) -> Result:
    """Writes `<name>.jsonl` as it goes and `<name>.json` at the end; what stands there is not asked again."""
    path = out / f"{benchmark.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = {problem.id: digest(problem, instruction, sampling) for problem in benchmark.problems}
    done = answered(path, asked, sampling.n)
    progress = Progress(benchmark.name, total=len(benchmark.problems) * sampling.n)
    for sample in done.values():
        progress = progress.plus(sample)
    on_progress(progress)
    open_problems = [
        problem
        for problem in benchmark.problems
        if any((problem.id, sample) not in done for sample in range(sampling.n))
    ]
    with path.open("a", encoding="utf-8") as lines:
        for problem, rollout in ask(engine, open_problems, instruction, sampling):
            if (problem.id, rollout.sample) in done:
                continue  # a kill left this problem with some of its samples
            sample = graded(grader, problem, rollout, asked[problem.id], out.parent / "pictures")
            lines.write(to_line(sample))
            lines.flush()
            done[problem.id, rollout.sample] = sample
            progress = progress.plus(sample)
            on_progress(progress)
    return finish(benchmark, sampling.n, done, out)


def digest(problem: Problem, instruction: str | None, sampling: Sampling) -> str:
    """Of all that decides an answer and its grade but the model, which a run keeps in its own folder."""
    parts = [picture_name(part) if isinstance(part, Picture) else part for part in problem.question]
    key = [problem.answer, problem.kind, problem.choices]
    how = {name: value for name, value in asdict(sampling).items() if name != "n"}
    return hashlib.sha256(json.dumps([parts, key, instruction, how]).encode()).hexdigest()[:16]


def answered(path: Path, asked: dict[str, str], n: int) -> dict[tuple[str, int], Sample]:
    """The samples of an earlier, broken-off evaluation that answer exactly what is asked now."""
    if not path.exists():
        return {}
    drop_torn_line(path)
    return {
        (sample.id, sample.sample): sample
        for sample in read_samples(path)
        if asked.get(sample.id) == sample.asked and sample.sample < n
    }


def ask(
    engine: Engine, problems: list[Problem], instruction: str | None, sampling: Sampling
) -> Iterator[tuple[Problem, Rollout]]:
    if not problems:
        return
    by_id = {problem.id: problem for problem in problems}
    prompts = [problem_prompt(problem, instruction) for problem in problems]
    for rollout in engine.generate(prompts, sampling):
        yield by_id[rollout.prompt_id], rollout


def graded(grader: Grader, problem: Problem, rollout: Rollout, asked: str, pictures: Path) -> Sample:
    score = grader.score(problem, rollout.text)
    return Sample(
        id=problem.id,
        item=problem.item or problem.id,
        sample=rollout.sample,
        asked=asked,
        question="".join(
            "<image>" if isinstance(part, Picture) else part for part in problem.question
        ).strip(),
        choices=problem.choices,
        pictures=tuple(keep_picture(picture, pictures) for picture in problem.pictures),
        tags=dict(problem.tags),
        gold=problem.answer,
        extracted=score.extracted,
        correct=score.correct,
        why=score.why,
        forced=rollout.forced_exit,
        stop=rollout.stop,
        think_tokens=rollout.think_tokens,
        text=rollout.text,
    )


def picture_name(picture: Picture) -> str:
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
    suffix = next((kind for magic, kind in kinds.items() if picture.encoded.startswith(magic)), "png")
    return f"{hashlib.sha1(picture.encoded, usedforsecurity=False).hexdigest()}.{suffix}"


def keep_picture(picture: Picture, folder: Path) -> str:
    """Each picture is written once, however many stages see it."""
    name = picture_name(picture)
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, picture.encoded)
    return name


def finish(benchmark: Benchmark, n: int, done: dict[tuple[str, int], Sample], out: Path) -> Result:
    """In the benchmark's order: a run that was killed ends with the same bytes as one that was not."""
    wanted = [(problem.id, sample) for problem in benchmark.problems for sample in range(n)]
    lost = [key for key in wanted if key not in done]
    if lost:
        raise ValueError(
            f"benchmark {benchmark.name}: the engine left {len(lost)} of {len(wanted)} answers out, "
            f"the first one sample {lost[0][1]} of {lost[0][0]}; run again to ask only for those"
        )
    samples = [done[key] for key in wanted]
    write_samples(out / f"{benchmark.name}.jsonl", samples)
    result = result_of(benchmark, samples)
    write_json(out / f"{benchmark.name}.json", asdict(result))
    return result
