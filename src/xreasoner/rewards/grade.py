"""Score a generated text against a problem's key: extract the answer, compare it in the way of its kind."""

from collections.abc import Callable, Sequence
from types import TracebackType

from xreasoner.records import OPTION_LETTERS, Kind, Problem, Score
from xreasoner.rewards.answers import Extracted, extract_answer
from xreasoner.rewards.choice import gold_letter, match_choice
from xreasoner.rewards.exact import plain_characters, plain_number, same_exactly
from xreasoner.rewards.math import LONGEST, settled
from xreasoner.rewards.number import match_number
from xreasoner.rewards.open import match_open
from xreasoner.rewards.pool import Pool


def grade_choice(problem: Problem, found: Extracted) -> Score:
    assert found.answer is not None
    gold = gold_letter(problem)
    letter, how = match_choice(found.answer, problem.choices)
    if letter is None:
        return Score(False, found.answer, f"{found.why}: {how}")
    options = dict(zip(OPTION_LETTERS, problem.choices, strict=False))
    same = options[letter] == options[gold]  # a benchmark may list one option twice
    verdict = "the key" if same else f"the key is {gold}"
    return Score(same, found.answer, f"{found.why}: option {letter} {how}, {verdict}")


def grade_exact(problem: Problem, found: Extracted) -> Score:
    assert found.answer is not None
    same = same_exactly(problem.answer, found.answer)
    return Score(same, found.answer, f"{found.why}: {'equals' if same else 'differs from'} the key")


def grade_number(problem: Problem, found: Extracted) -> Score:
    assert found.answer is not None
    same, how = match_number(problem.answer, found.answer)
    return Score(same, found.answer, f"{found.why}: {how}")


def grade_open(problem: Problem, found: Extracted) -> Score:
    assert found.answer is not None
    answer = plain_characters(found.answer)
    same, how = match_open(plain_characters(problem.answer), plain_number(answer) or answer)
    return Score(same, found.answer, f"{found.why}: {how}")


CHEAP: dict[Kind, Callable[[Problem, Extracted], Score]] = {
    "choice": grade_choice,
    "exact": grade_exact,
    "number": grade_number,
    "open": grade_open,
}


def grade_cheaply(problem: Problem, found: Extracted) -> Score | None:
    """Everything but the mathematics that strings and integers cannot settle."""
    if found.answer is None:
        return Score(False, None, found.why)
    if len(found.answer) > max(LONGEST, 2 * len(problem.answer)):
        return Score(
            False, found.answer[:LONGEST], f"{found.why}: {len(found.answer)} characters are no answer"
        )
    if grade := CHEAP.get(problem.kind):
        return grade(problem, found)
    if settled(problem.answer, found.answer):
        return Score(True, found.answer, f"{found.why}: equals the key")
    return None


class Grader:
    """Grades answers; its worker processes start with the first that needs math-verify, and end with it."""

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

    def score_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Score]:
        """One score a pair, in order. The same answer to the same key is worked out once."""
        found = [extract_answer(text, problem) for problem, text in pairs]
        scores = [grade_cheaply(problem, one) for (problem, _), one in zip(pairs, found, strict=True)]
        asked = {
            (problem.answer, one.answer or "")
            for (problem, _), one, score in zip(pairs, found, scores, strict=True)
            if score is None
        }
        unsettled = sorted(asked)
        verdicts = dict(zip(unsettled, self._pool.grade(unsettled), strict=True))
        return [
            _with(verdicts[problem.answer, one.answer or ""], one) if score is None else score
            for (problem, _), one, score in zip(pairs, found, scores, strict=True)
        ]


def _with(verdict: tuple[bool | None, str], found: Extracted) -> Score:
    correct, why = verdict
    return Score(correct, found.answer, f"{found.why}: {why}")
