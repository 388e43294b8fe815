"""Hostile answers cost their budget and no more; workers start late, die and are replaced."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from select import select

import pytest

from xreasoner.records import Problem
from xreasoner.rewards.extract import find_answer
from xreasoner.rewards.grade import Grader, score_here
from xreasoner.rewards.pool import Pool


def math(key: str) -> Problem:
    return Problem(id="p", question=("?",), answer=key, kind="math")


def tagged(answer: str) -> str:
    return f"<answer>{answer}</answer>"


HOSTILE = ["9^{9^{9^9}}", "(" * 9000, r"\frac{1}{" * 900 + "2" + "}" * 900, "10000000!"]


@pytest.mark.slow
def test_hostile_answers_cost_their_budget_and_are_wrong() -> None:
    pairs = [(math("3"), tagged(answer)) for answer in HOSTILE]
    pairs.insert(2, (math("4"), tagged("2^2")))
    with Grader(workers=2, seconds=0.5) as grader:
        grader.score(math("4"), tagged("2+2"))
        started = time.monotonic()
        scores = grader.score_many(pairs)
        # Two workers share four budgets of half a second; each replacement takes its start on top.
        assert time.monotonic() - started < 30
    assert [score.correct for score in scores] == [False, False, True, False, False]
    assert all(score.extracted and score.why for score in scores)


@pytest.mark.parametrize(
    "text",
    [
        "<answer>" + "(" * 1_000_000 + "</answer>",
        r"\boxed{" * 150_000,
        "{" * 500_000 + "}" * 500_000,
        "<think>" * 150_000,
        "C: the answer \n" * 60_000,
        " \n# " * 250_000,
        "<think></think>" * 66_000,
        "$" * 1_000_000,
        "the answer to the " * 60_000,
        "If it is so, C. " * 60_000,
        "<answer>" + "9" * 9_000 + "</answer>",
        "<answer>1/" + "3" * 309 + "</answer>",
        "<answer>1/" + "3" * 4_300 + "</answer>",
        "<answer>" + r"\text{" * 800 + "}" * 800 + "</answer>",
        "<answer>\ud800 \udfff</answer>",
    ],
    ids=[
        *("tagged brackets", "open boxes", "braces", "thoughts", "options", "blanks", "empty thoughts"),
        *("dollars", "leads", "suppositions", "9,000 digits", "309 digits", "4,300 digits", "nested text"),
        "half surrogates",
    ],
)
@pytest.mark.parametrize("kind", ["math", "exact", "choice", "number", "open"])
def test_a_megabyte_is_read_in_linear_time(text: str, kind: str) -> None:
    key = "A" if kind in ("choice", "exact", "open") else "7"
    problem = Problem(id="p", question=("?",), answer=key, kind=kind, choices=("x", "y"))  # type: ignore[arg-type]
    started = time.process_time()
    score = score_here(problem, find_answer(text, problem))
    assert time.process_time() - started < 3
    assert score is None or score.correct is False


def test_workers_start_only_for_what_strings_and_integers_leave_open() -> None:
    choice = Problem(id="c", question=("?",), answer="A", kind="choice", choices=("x", "y"))
    exact = Problem(id="e", question=("?",), answer="red", kind="exact")
    with Grader(workers=1) as grader:
        cheap = [(choice, tagged("A")), (exact, tagged("red")), (math("7"), tagged("$07$"))]
        assert [score.correct for score in grader.score_many(cheap)] == [True, True, True]
        assert grader._pool.workers == []
        assert grader.score(math("7"), tagged("8")).why.endswith("differs from the key")
        assert grader._pool.workers == []
        # Algebra is math-verify's.
        assert grader.score(math("x+1"), tagged("1.0+x")).why.endswith("equivalent by math-verify")
        assert len(grader._pool.workers) == 1


def test_a_worker_compares_while_the_next_answer_does_not_exist_yet() -> None:
    with Grader(workers=1) as grader:
        grader.score(math("y+1"), tagged("1+y"))
        (worker,) = grader._pool.workers

        def arriving() -> Iterator[tuple[Problem, str]]:
            yield math("x+1"), tagged("1+x")
            assert select([worker.output], [], [], 60)[0], "no verdict, though nothing else is waited for"
            yield math("x+2"), tagged("x+3")
            yield math("x+1"), tagged("1+x")

        assert [score.correct for score in grader.score_many(arriving())] == [True, False, True]


def test_answers_of_a_source_that_fails_are_not_mistaken_for_later_ones() -> None:
    with Grader(workers=1) as grader:

        def failing() -> Iterator[tuple[Problem, str]]:
            yield math("x+1"), tagged("1+x")
            yield math("x+1"), tagged("x+1+1-1")
            raise OSError("no more answers")

        with pytest.raises(OSError, match="no more answers"):
            grader.score_many(failing())
        pairs = [(math("x+2"), tagged("x+3")), (math("x+2"), tagged("2+x"))]
        assert [score.correct for score in grader.score_many(pairs)] == [False, True]


def test_a_worker_killed_while_idle_or_busy_is_replaced() -> None:
    pool = Pool(workers=1, seconds=5.0)
    assert pool.grade([("4", "2^2")])[0].correct is True
    first = pool.workers[0].process
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert pool.grade([("4", "2^2"), ("4", "2^3")])[1].correct is False
    second = pool.workers[0].process
    assert second.pid != first.pid
    threading.Timer(0.5, second.kill).start()
    died, next_one = pool.grade([("3", "9^{9^{9^9}}"), ("4", "2^2")])
    assert (died.correct, died.why) == (False, "the grader's process died")
    assert next_one.correct is True
    pool.close()
    assert pool.workers == []


def test_time_in_which_a_worker_is_kept_waiting_does_not_count() -> None:
    pool = Pool(workers=1, seconds=0.5)
    assert pool.grade([("4", "2^2")])[0].correct is True
    process = pool.workers[0].process
    process.send_signal(signal.SIGSTOP)
    threading.Timer(1.0, process.send_signal, (signal.SIGCONT,)).start()
    assert pool.grade([("9", "3^2")])[0].correct is True
    assert pool.workers[0].process is process
    pool.close()


def test_no_alarm_is_set_here_and_any_thread_may_grade() -> None:
    before = signal.getsignal(signal.SIGALRM)
    results: list[bool | None] = []

    def work() -> None:
        with Grader(workers=1) as grader:
            results.append(grader.score(math("1/2"), tagged("0.5")).correct)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [True]
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_closing_ends_the_processes() -> None:
    with Grader(workers=2) as grader:
        grader.score_many([(math("x+1"), tagged("1+x")), (math("x+2"), tagged("2+x"))])
        processes = [worker.process for worker in grader._pool.workers]
        assert len(processes) == 2
    assert all(process.poll() is not None for process in processes)


def test_a_key_that_cannot_be_read_is_the_graders_failure() -> None:
    with Grader(workers=1) as grader:
        score = grader.score(math(" "), tagged("3"))
    assert score.correct is None
    assert "key" in score.why


def test_a_worker_lost_while_it_starts_is_replaced() -> None:
    pool = Pool(workers=1, seconds=5.0)
    pool._start_workers(1)
    pool.workers[0].process.kill()
    assert pool.grade([("4", "2^2")])[0].correct is True
    pool.close()


def test_workers_that_never_start_are_an_error_and_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "false")
    pool = Pool(workers=2)
    with pytest.raises(RuntimeError, match="does not start"):
        pool.grade([("4", "2^2"), ("4", "2^3")])
    assert pool.workers == []


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a worker"):
        Pool(workers=0)


def test_text_that_cannot_be_encoded_is_graded() -> None:
    with Grader(workers=1) as grader:
        assert grader.score(math("x+1"), tagged("\ud800 1+x")).correct is False
        assert grader.score(math("x\ud800"), tagged("y")).correct is not True


def test_what_fails_on_the_answer_is_wrong_and_on_the_key_unscored() -> None:
    with Grader(workers=1, seconds=1.0) as grader:
        for answer in ("1:00", r"x \neq 4", "(" * 3000, "\\"):
            assert grader.score(math("4"), tagged(answer)).correct is False
        assert grader.score(math("$$"), tagged("4")).correct is None
