"""Our grader, Math-Verify alone, and the official functions of MMMU and MathVista on the same replies.

Run: python benchmarks/grader_agreement.py --mmmu MMMU/mmmu/utils/eval_utils.py \\
       --mathvista MathVista/evaluation/calculate_score.py [--out docs/grader_agreement.md]
The two files are those of the benchmarks' own repositories; without them only Math-Verify is compared.
"""

import argparse
import ast
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from grader_cases import Case, all_cases
from xreasoner.rewards.extract import find_answer
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.statements import outside_thought

LETTERS = "ABCDEFGHIJ"
KINDS = ("choice", "number", "open", "math")
Verdict = bool | None
"""None: the function is not meant for such a case."""
Judge = Callable[[Case], Verdict]
Form = tuple[str, str, float | None]
"""MathVista's question type, answer type and precision."""


def by_ours(cases: Sequence[Case]) -> list[Verdict]:
    with Grader(workers=1, seconds=10) as grader:
        return [score.correct for score in grader.score_many([(case.problem, case.text) for case in cases])]


def math_verify_judge(reply: Callable[[Case], str]) -> Judge:
    """As it is used alone, letters as strings."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

    def judge(case: Case) -> Verdict:
        if case.kind == "choice":
            letters = StringExtractionConfig(strings=tuple(LETTERS[: len(case.choices)]))
            return bool(verify(parse(case.key, [letters]), parse(reply(case), [letters])))
        forms = [LatexExtractionConfig(), ExprExtractionConfig()]
        return bool(verify(parse(f"${case.key}$", forms), parse(reply(case), forms)))

    return judge


def functions_of(path: Path, known: Mapping[str, Any]) -> Any:
    """The functions of a file, without whatever it imports for other ends."""
    tree = ast.parse(path.read_text())
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    space = ModuleType(path.stem)
    space.__dict__.update(known)
    exec(compile(ast.Module(kept, []), str(path), "exec"), space.__dict__)
    return SimpleNamespace(**space.__dict__)


class Guesses:
    """In the place of `random`: what MMMU answers for a model that names no option is nobody's answer."""

    @staticmethod
    def choice(options: Sequence[str]) -> str:
        return "a guess"


def mmmu_judge(path: Path, reply: Callable[[Case], str]) -> Judge:
    import re

    import numpy

    names = {"re": re, "np": numpy, "random": Guesses, "Dict": dict}
    official = functions_of(path, names)

    def judge(case: Case) -> Verdict:
        if case.kind == "choice":
            letters = list(LETTERS[: len(case.choices)])
            told = official.parse_multi_choice_response(
                reply(case), letters, dict(zip(letters, case.choices, strict=True))
            )
            return bool(official.eval_multi_choice(case.key, told))
        if case.kind != "open":
            return None
        key = json.loads(case.key) if case.key.startswith("[") else case.key
        return bool(official.eval_open(key, official.parse_open_response(reply(case))))

    return judge


def edit_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def mathvista_judge(path: Path, reply: Callable[[Case], str]) -> Judge:
    """Its second half, which needs no model; the first half asks GPT-4 to find the answer in the reply."""
    import logging
    import re

    official = functions_of(path, {"re": re, "logging": logging, "distance": edit_distance})

    def judge(case: Case) -> Verdict:
        if case.kind not in ("choice", "number"):
            return None
        if case.kind == "choice":
            key = case.choices[LETTERS.index(case.key)]
            form: Form = ("multi_choice", "text", None)
        else:
            key, form = number_form(case.key)
        told = official.normalize_extracted_answer(reply(case), list(case.choices), *form)
        return bool(official.safe_equal(told, key))

    return judge


def number_form(key: str) -> tuple[str, Form]:
    """The key as MathVista writes it."""
    if key.startswith("["):
        return key, ("free_form", "list", None)
    if "." in key:
        return str(float(key)), ("free_form", "float", float(len(key.partition(".")[2])))
    return key, ("free_form", "integer", None)


def reply_of(case: Case) -> str:
    return outside_thought(case.text)


def answer_of(case: Case) -> str:
    """What ours takes for the answer: the official functions at their best."""
    return find_answer(case.text, case.problem).answer or ""


def written_answer(case: Case) -> str:
    """Math-Verify reads letters as they are and mathematics between dollar signs."""
    return answer_of(case) if case.kind == "choice" else f"${answer_of(case)}$"


def judges(mmmu: Path | None, mathvista: Path | None) -> dict[str, Judge]:
    found = {
        f"Math-Verify {version('math-verify')}, all": math_verify_judge(lambda case: case.text),
        "Math-Verify, our extract": math_verify_judge(written_answer),
    }
    if mmmu:
        found["MMMU, the reply"] = mmmu_judge(mmmu, reply_of)
        found["MMMU, our extract"] = mmmu_judge(mmmu, answer_of)
    if mathvista:
        found["MathVista, the reply"] = mathvista_judge(mathvista, reply_of)
        found["MathVista, our extract"] = mathvista_judge(mathvista, answer_of)
    return found


def summary(cases: Sequence[Case], ours: Sequence[Verdict], others: Mapping[str, Sequence[Verdict]]) -> str:
    right = sum(one == case.is_right for one, case in zip(ours, cases, strict=True))
    lines = [f"Ours agrees with the careful reader on {right} of {len(cases)} replies.", ""]
    lines += ["| | kind | replies | agree | differ | ours is right | the other is right |", "|---" * 7 + "|"]
    for name, verdicts in others.items():
        for kind in KINDS:
            judged = [
                (mine, other, case.is_right)
                for mine, other, case in zip(ours, verdicts, cases, strict=True)
                if other is not None and case.kind == kind
            ]
            if judged:
                lines.append(f"| {name} | {kind} | {' | '.join(map(str, counts(judged)))} |")
    return "\n".join(lines)


def counts(judged: Sequence[tuple[Verdict, Verdict, bool]]) -> tuple[int, int, int, int, int]:
    differ = [(mine, truth) for mine, other, truth in judged if mine != other]
    won = sum(mine == truth for mine, truth in differ)
    return len(judged), len(judged) - len(differ), len(differ), won, len(differ) - won


def by_trap(cases: Sequence[Case], ours: Sequence[Verdict], others: Mapping[str, Sequence[Verdict]]) -> str:
    """How many replies of each trap every grader gets right."""
    graders = {"ours": ours, **others}
    lines = [f"| kind | trap | replies | {' | '.join(graders)} |", "|---" * (3 + len(graders)) + "|"]
    for kind, trap in dict.fromkeys((case.kind, case.trap) for case in cases):
        places = [i for i, case in enumerate(cases) if (case.kind, case.trap) == (kind, trap)]
        right = [
            "" if verdicts[places[0]] is None else str(sum(verdicts[i] == cases[i].is_right for i in places))
            for verdicts in graders.values()
        ]
        lines.append(f"| {kind} | {cell(trap)} | {len(places)} | {' | '.join(right)} |")
    return "\n".join(lines)


def listing(cases: Sequence[Case], ours: Sequence[Verdict], others: Mapping[str, Sequence[Verdict]]) -> str:
    """Every reply on which not all agree; the reader's column decides."""
    short = {name: f"{number}" for number, name in enumerate(others, start=1)}
    lines = [", ".join(f"{number}: {name}" for name, number in short.items()) + ".", ""]
    lines += ["| kind | trap | key | reply | reader | ours | right say | wrong say |", "|---" * 8 + "|"]
    for place, (case, mine) in enumerate(zip(cases, ours, strict=True)):
        verdicts = {short[name]: verdicts[place] for name, verdicts in others.items()}
        if all(verdict in (None, mine) for verdict in verdicts.values()) and mine == case.is_right:
            continue
        says = {
            value: " ".join(name for name, verdict in verdicts.items() if verdict is value)
            for value in (True, False)
        }
        cells = (case.kind, case.trap, case.key, reply_of(case)[-90:], word(case.is_right), word(mine))
        lines.append(f"| {' | '.join(map(cell, (*cells, says[True], says[False])))} |")
    return "\n".join(lines)


def page(cases: Sequence[Case], ours: Sequence[Verdict], others: Mapping[str, Sequence[Verdict]]) -> str:
    parts = [
        "# Graders on the same replies",
        "Made by `benchmarks/grader_agreement.py`; [what it shows](benchmarks.md#grading).",
        summary(cases, ours, others),
        "## By trap: replies that each grader gets right",
        by_trap(cases, ours, others),
        "## Every disagreement, decided by the reader",
        listing(cases, ours, others),
    ]
    return "\n\n".join(parts) + "\n"


def word(verdict: Verdict) -> str:
    return "unscored" if verdict is None else "right" if verdict else "wrong"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ⏎ ").replace("<", "&lt;")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mmmu", type=Path, help="eval_utils.py of MMMU's repository")
    parser.add_argument("--mathvista", type=Path, help="calculate_score.py of MathVista's repository")
    parser.add_argument("--out", type=Path, help="write the table and the list of disagreements here")
    wanted = parser.parse_args()
    random.seed(0)
    cases = all_cases()
    ours = by_ours(cases)
    others = {
        name: [judge(case) for case in cases] for name, judge in judges(wanted.mmmu, wanted.mathvista).items()
    }
    print(Counter(case.kind for case in cases))
    print(summary(cases, ours, others))
    if wanted.out:
        wanted.out.write_text(page(cases, ours, others))


if __name__ == "__main__":
    main()
