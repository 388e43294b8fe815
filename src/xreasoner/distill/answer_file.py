"""All answers of the teacher, one per line. An answer in the file is not generated again."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from xreasoner.records import Rollout
from xreasoner.rollout.server_engine.engine import ServerRollout
from xreasoner.storage.checked_json import checked_line, drop_damaged_lines, read_checked_line
from xreasoner.storage.disk import errors_named
from xreasoner.storage.journal import Say


class AnswerId(NamedTuple):
    problem: str
    round: int
    """0: without a hint; 1: with the hint."""
    sample: int


@dataclass(frozen=True)
class Answer:
    problem: str
    round: int
    sample: int
    correct: bool | None
    usable: bool
    """Correct, complete, and with a thought to train on."""
    why: str
    prompt_tokens: int
    completion_tokens: int
    text: str = field(repr=False)

    @property
    def key(self) -> AnswerId:
        return AnswerId(self.problem, self.round, self.sample)


class Noted(NamedTuple):
    """What stays in memory of an answer: enough to choose, and its offset in the file."""

    usable: bool
    completion_tokens: int
    place: int


class AnswerFile:
    def __init__(self, path: Path, say: Say = lambda line: None) -> None:
        self.noted: dict[AnswerId, Noted] = {}
        self.prompt_tokens = self.completion_tokens = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if dropped := drop_damaged_lines(path):
            say(f"{path}: {dropped:,} damaged lines are dropped, and their answers generated again")
        self._path, self._file = path, path.open("rb+")
        place = 0
        for line in self._file:
            self._note(answer_of(line), place)
            place += len(line)

    def add(self, answer: Answer) -> None:
        place = self._file.seek(0, 2)
        with errors_named(self._path):
            self._file.write(checked_line(asdict(answer)).encode())
            self._file.flush()
        self._note(answer, place)

    def _note(self, answer: Answer, place: int) -> None:
        self.noted[answer.key] = Noted(answer.usable, answer.completion_tokens, place)
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def read(self, key: AnswerId) -> Answer:
        self._file.seek(self.noted[key].place)
        return answer_of(self._file.readline())

    def usable(self, problem: str, round_: int, samples: int) -> list[AnswerId]:
        keys = [AnswerId(problem, round_, sample) for sample in range(samples)]
        return [key for key in keys if key in self.noted and self.noted[key].usable]

    def close(self) -> None:
        self._file.close()


def answer_of(line: bytes) -> Answer:
    fields = read_checked_line(line)
    assert fields is not None, "damaged lines were dropped"
    return Answer(**fields)


def tokens_of(rollout: Rollout) -> tuple[int, int]:
    """Tokens of the prompt and of the answer; servers report their own counts."""
    if isinstance(rollout, ServerRollout):
        return rollout.prompt_tokens, rollout.completion_tokens
    return len(rollout.prompt_ids), sum(rollout.by_policy)
