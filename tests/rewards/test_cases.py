"""The table that graders are compared on: ours decides as its careful reader, but for what is listed."""

from benchmarks.grader_cases import Case, all_cases, made_cases, written_cases

from xreasoner.rewards.grade import Grader

CASES = all_cases()

LENIENT = {
    "<answer>$66</answer>",
    "<answer>not an osteosarcoma</answer>",
    "<answer>not known</answer>",
    "<answer>unknown</answer>",
    "<answer>150%</answer>",
}
"""Right by MMMU's rule, which looks for the key's words within the answer."""
STRICT = {
    "<answer>1/4</answer>",
    "<answer>6</answer>",
    "<answer>six dollars</answer>",
    "<answer>osteo sarcoma</answer>",
    "<answer>1.2 kN</answer>",
    "<answer>50 %</answer>",
    "<answer>50</answer>",
    "Thus osteosarcoma",
}
"""Wrong by MMMU's rule or by Math-Verify, or an answer that nothing marks as one."""


def ends_with(case: Case, replies: set[str]) -> bool:
    return case.kind in ("open", "math") and any(case.text.endswith(reply) for reply in replies)


def test_the_table_has_hundreds_of_replies_of_each_sort() -> None:
    assert len(written_cases()) > 350
    assert len(list(made_cases())) > 200
    assert 0.4 < sum(case.is_right for case in made_cases()) / len(list(made_cases())) < 0.6


def test_ours_decides_as_a_careful_reader() -> None:
    with Grader(workers=1, seconds=60) as grader:
        scores = grader.score_many([(case.problem, case.text) for case in CASES])
    wrong = {
        (case, score.correct)
        for case, score in zip(CASES, scores, strict=True)
        if score.correct is not case.is_right
    }
    unexpected = [
        (case.trap, case.key, case.text, graded)
        for case, graded in wrong
        if not ends_with(case, LENIENT if graded else STRICT)
    ]
    assert unexpected == []
    assert len(wrong) == len(LENIENT) + len(STRICT)
