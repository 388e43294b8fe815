"""Score a generated text against a problem's key: extract the answer and compare it by the problem's kind."""

from collections.abc import Callable, Iterable
from types import TracebackType

from xreasoner.records import OPTION_LETTERS, Kind, Problem, Score
from xreasoner.rewards.choice import gold_letter, match_choice
from xreasoner.rewards.extract import Found, find_answer
from xreasoner.rewards.math import LONGEST, settled
from xreasoner.rewards.number import match_number
from xreasoner.rewards.open import match_open
from xreasoner.rewards.plain import normalise, plain_characters, plain_number
from xreasoner.rewards.pool import GradingTask, Pool
from xreasoner.rewards.statements import LONGEST_STATEMENT


def grade_choice(problem: Problem, answer: str) -> tuple[bool, str]:
    gold = gold_letter(problem)
    letter, how, *_ = match_choice(answer, problem.choices)
    if letter is None:
        return False, how
    options = dict(zip(OPTION_LETTERS, problem.choices, strict=False))
    same = options[letter] == options[gold]  # a benchmark may list one option twice
    return same, f"option {letter} {how}, {'the key' if same else f'the key is {gold}'}"


def grade_exact(problem: Problem, answer: str) -> tuple[bool, str]:
    same = normalise(problem.answer) == normalise(answer)
    return same, f"{'equals' if same else 'differs from'} the key"


def grade_number(problem: Problem, answer: str) -> tuple[bool, str]:
    return match_number(problem.answer, answer)


def grade_open(problem: Problem, answer: str) -> tuple[bool, str]:
    answer = plain_characters(answer[-LONGEST_STATEMENT:])
    return match_open(plain_characters(problem.answer), plain_number(answer) or answer)


def grade_math(problem: Problem, answer: str) -> tuple[bool, str] | None:
    """None: only math-verify can tell."""
    same = settled(problem.answer, answer)
    return None if same is None else (same, "equals the key" if same else "differs from the key")


BY_KIND: dict[Kind, Callable[[Problem, str], tuple[bool, str] | None]] = {
    "choice": grade_choice,
    "exact": grade_exact,
    "number": grade_number,
    "open": grade_open,
    "math": grade_math,
}


def score_here(problem: Problem, found: Found) -> Score | None:
    """Grades everything except mathematics that needs Math-Verify."""
    if problem.kind == "choice" and len(problem.choices) == 1:
        # MMMU's script picks at random among the options where it finds none, so one option is always right.
        return Score(True, found.answer or OPTION_LETTERS[0], "the only option", found.rule)
    if found.answer is None:
        return Score(False, None, found.why)
    if len(found.answer) > max(LONGEST, 2 * len(problem.answer)):
        why = f"{found.why}: {len(found.answer)} characters are too long for an answer"
        return Score(False, found.answer[:LONGEST], why, found.rule)
    verdict = BY_KIND[problem.kind](problem, found.answer)
    return _score(verdict, found) if verdict else None


class Grader:
    """Grades answers. Worker processes start with the first answer that needs Math-Verify."""

    def __init__(self, workers: int = 2, seconds: float = 5.0) -> None:
        self._pool = Pool(workers, seconds)

    def __enter__(self) -> "Grader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._pool.close()

    def score(self, problem: Problem, text: str) -> Score:
        return self.score_many([(problem, text)])[0]

    def score_many(self, pairs: Iterable[tuple[Problem, str]]) -> list[Score]:
        """One score per pair, in order. Workers begin with a pair as soon as it arrives.

        Equal answers to equal keys are compared once."""
        found, scores = list[Found](), list[Score | None]()
        begun: dict[tuple[str, str], GradingTask] = {}
        keys: list[tuple[str, str]] = []
        for problem, text in pairs:
            found.append(find_answer(text, problem))
            scores.append(score_here(problem, found[-1]))
            keys.append((problem.answer, found[-1].answer or ""))
            if scores[-1] is None and keys[-1] not in begun:
                begun[keys[-1]] = self._pool.begin(*keys[-1])
        verdicts = dict(zip(begun, self._pool.verdicts(list(begun.values())), strict=True))
        return [
            _score(verdicts[key], one) if score is None else score
            for key, one, score in zip(keys, found, scores, strict=True)
        ]


def _score(verdict: tuple[bool | None, str], found: Found) -> Score:
    correct, why = verdict
    return Score(correct, found.answer, f"{found.why}: {why}", found.rule)
