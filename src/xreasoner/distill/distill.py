"""Generate, verify, select: a distillation resumes after any answer, and ends with the same file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from xreasoner.chat.template import problem_prompt
from xreasoner.chat.think import split_thought
from xreasoner.data.candidates import Candidate, flattened
from xreasoner.data.left_out import LeftOutFile
from xreasoner.data.prepare import candidates_of
from xreasoner.distill.answer_file import AnswerFile, AnswerId
from xreasoner.distill.settings import Distillation, ServerTeacher
from xreasoner.distill.verify import hinted, verify
from xreasoner.records import Message, Problem, Prompt, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.refused import watched
from xreasoner.storage.checked_json import json_text, read_checked_json, write_checked_json
from xreasoner.storage.files import write_json, written_atomically
from xreasoner.storage.journal import Say
from xreasoner.storage.run_folder import first_difference, locked

QUESTIONS_AT_ONCE = 512
SECONDS_BETWEEN_LINES = 10.0
CHANGEABLE = {"keep", "samples", "hint", "out", "name"}
"""Settings that may change while earlier answers stay valid."""


@dataclass(frozen=True)
class DistillationSummary:
    questions: int
    solved: int
    solved_with_hint: int
    thoughts: int
    answers: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    left_out: dict[str, int]
    """Rows that could not be used, by reason."""


def distill(settings: Distillation, engine: Engine, grader: Grader, say: Say) -> DistillationSummary:
    folder = settings.folder
    with locked(folder):
        refuse_another(settings)
        problems, left_out = questions(settings, folder / "left_out.jsonl")
        answers = AnswerFile(folder / "answers.jsonl", say)
        work = _Work(settings, engine, grader, answers, say)
        for start in range(0, len(problems), QUESTIONS_AT_ONCE):
            some = problems[start : start + QUESTIONS_AT_ONCE]
            work.ask(some, round_=0)
            if settings.hint:
                work.ask([p for p in some if not answers.usable(p.id, 0, settings.samples)], round_=1)
            work.say_progress(start + len(some), len(problems))
        summary = select(settings, problems, answers, left_out)
        write_json(folder / "summary.json", asdict(summary))
        answers.close()
    return summary


def refuse_another(settings: Distillation) -> None:
    """One folder holds the answers of one teacher to one kind of prompt."""
    note = settings.folder / "made_from.json"
    made_from = settings.model_dump(mode="json", exclude=CHANGEABLE)
    for how_fast in (
        "concurrency",
        "requests_per_minute",
        "retries",
        "seconds",
        "dollars",
        "key_from",
        "rows",
    ):
        made_from["teacher"].pop(how_fast, None)
    if note.exists():
        written = read_checked_json(note, "the settings of its answers are unknown: set another `out`")
        changed = first_difference(written, made_from)
        if changed:
            raise ValueError(f"{settings.folder}: holds another distillation ({changed}); set another `out`")
    write_checked_json(note, made_from)


def questions(settings: Distillation, listed: Path) -> tuple[list[Problem], Mapping[str, int]]:
    """Without the thoughts of the data, which are not needed and take memory."""
    problems, left_out = [], LeftOutFile(listed)
    for found in candidates_of(settings.data, settings.seed):
        if isinstance(found, Candidate):
            problems.append(replace(found.problem, reasoning=""))
        else:
            left_out.add(found)
    left_out.close()
    return problems, left_out.counts


class _Work:
    def __init__(
        self, settings: Distillation, engine: Engine, grader: Grader, answers: AnswerFile, say: Say
    ) -> None:
        self._settings, self._engine, self._grader, self._answers = settings, engine, grader, answers
        self._say, self._last = say, time.monotonic()
        # One prompt per answer: an interruption costs only the answers in progress.
        self._sampling = Sampling(
            1, settings.temperature, settings.think_budget, settings.answer_budget, True, settings.seed
        )

    def ask(self, problems: Sequence[Problem], round_: int) -> None:
        by_id = {problem.id: problem for problem in problems}
        wanted = [
            AnswerId(p.id, round_, sample) for p in problems for sample in range(self._settings.samples)
        ]
        keys = {"/".join(map(str, key)): key for key in wanted if key not in self._answers.noted}
        prompts = [self._prompt(by_id[key.problem], key, name) for name, key in keys.items()]
        if not prompts:
            return
        for rollout in watched(self._engine.generate(prompts, self._sampling), self._sampling, self._say):
            key = keys[rollout.prompt_id]
            self._answers.add(verify(by_id[key.problem], key, rollout, self._grader))
            if time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
                self._say(f"{len(self._answers.noted):,} answers, {spent(self._settings, self._answers)}")
                self._last = time.monotonic()

    def _prompt(self, problem: Problem, key: AnswerId, name: str) -> Prompt:
        prompt = problem_prompt(problem, self._settings.instruction)
        if key.round == 0:
            return replace(prompt, id=name)
        *before, question = prompt.messages
        told = Message(question.role, (*question.parts, hinted(problem)))
        return Prompt(name, (*before, told))

    def say_progress(self, done: int, total: int) -> None:
        self._say(f"{done:,} of {total:,} questions, {spent(self._settings, self._answers)}")


def dollars(settings: Distillation, answers: AnswerFile) -> float | None:
    teacher = settings.teacher
    if not isinstance(teacher, ServerTeacher) or teacher.dollars is None:
        return None
    prompts, completions = teacher.dollars
    return (answers.prompt_tokens * prompts + answers.completion_tokens * completions) / 1e6


def spent(settings: Distillation, answers: AnswerFile) -> str:
    usable = sum(noted.usable for noted in answers.noted.values())
    price = dollars(settings, answers)
    return (
        f"{usable:,} of {len(answers.noted):,} answers usable, "
        f"{answers.prompt_tokens:,} prompt tokens, {answers.completion_tokens:,} answer tokens"
        + (f", {price:,.2f} dollars" if price is not None else "")
    )


def select(
    settings: Distillation, problems: Sequence[Problem], answers: AnswerFile, left_out: Mapping[str, int]
) -> DistillationSummary:
    """In the order of the data, whatever the order of the answers."""
    thoughts, solved, with_hint = 0, 0, 0
    with written_atomically(settings.folder / "thoughts.jsonl") as file:
        for problem in problems:
            chosen = list(choose(settings, problem, answers))
            thoughts, solved = thoughts + len(chosen), solved + bool(chosen)
            with_hint += bool(chosen) and chosen[0].round > 0
            for key in chosen:
                file.write(row(problem, key, answers, several=settings.keep == "all"))
    return DistillationSummary(
        questions=len(problems),
        solved=solved,
        solved_with_hint=with_hint,
        thoughts=thoughts,
        answers=len(answers.noted),
        prompt_tokens=answers.prompt_tokens,
        completion_tokens=answers.completion_tokens,
        dollars=dollars(settings, answers),
        left_out=dict(left_out),
    )


def choose(settings: Distillation, problem: Problem, answers: AnswerFile) -> Iterator[AnswerId]:
    """A thought with a hint only where there is none without."""
    usable = answers.usable(problem.id, 0, settings.samples)
    if not usable and settings.hint:
        usable = answers.usable(problem.id, 1, settings.samples)
    if settings.keep == "all":
        return iter(usable)
    by_length = sorted(usable, key=lambda key: (answers.noted[key].completion_tokens, key.sample))
    return islice(by_length, 1)


def row(problem: Problem, key: AnswerId, answers: AnswerFile, several: bool) -> bytes:
    """A row with the column names that recipes read by default."""
    answer = answers.read(key)
    thought = split_thought(answer.text)
    fields = {
        "id": f"{problem.id}-{key.round}-{key.sample}" if several else problem.id,
        "question": flattened(problem.question),
        "choices": list(problem.choices) or None,
        "answer": problem.answer,
        "reasoning": thought.thought,
        "reply": thought.answer,
        "hinted": key.round > 0,
        "tokens": answer.completion_tokens,
    }
    return json_text(fields).encode() + b"\n"
