"""Our grader on real replies: GSM8K's solutions, MathVista's replies, MATH-500's keys, Math-Verify's tests.

Run: XREASONER_REAL_DATA=DIR python benchmarks/grader_real_replies.py [--math-verify TESTS] [--out DIR]
DIR holds `gsm8k/example_model_solutions.jsonl` (openai/grade-school-math), `mathvista/output_*.json` (replies
that MathVista publishes with its extraction and verdict) and `math500.json`. TESTS is the folder `tests` of
Math-Verify's source distribution. `--out` writes every reply on which we differ, to be read one by one.
"""

import argparse
import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xreasoner.records import Problem, Score
from xreasoner.rewards.grade import Grader

REAL_DATA = "XREASONER_REAL_DATA"


@dataclass(frozen=True)
class Reply:
    """A reply with the verdict of those who published it."""

    group: str
    problem: Problem
    text: str
    official: bool
    extraction: str = ""


def gsm8k(folder: Path) -> Iterator[Reply]:
    """5,276 solutions of four models that end in a line such as `A: 18`."""
    path = folder / "gsm8k" / "example_model_solutions.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        key = row["ground_truth"].rpartition("A:")[2].strip().replace(",", "")
        for model, answer in row.items():
            if isinstance(answer, dict):
                problem = Problem(str(number), (row["question"],), key, "math")
                yield Reply(model, problem, answer["solution"], answer["is_correct"])


def mathvista(folder: Path) -> Iterator[Reply]:
    items = json.loads((folder / "mathvista" / "testmini.json").read_text(encoding="utf-8"))
    for path in sorted((folder / "mathvista").glob("output_*.json")):
        model = path.stem.removeprefix("output_")
        for key, row in json.loads(path.read_text(encoding="utf-8")).items():
            official = str(row["true_false"]) == "True"
            yield Reply(
                model, mathvista_problem(key, items[key]), row["response"], official, row["extraction"]
            )


def mathvista_problem(key: str, item: dict[str, object]) -> Problem:
    question, answer, choices = str(item["question"]), str(item["answer"]), item["choices"]
    if isinstance(choices, list):
        letter = "ABCDEFGHIJ"[choices.index(answer)]
        return Problem(key, (question,), letter, "choice", choices=tuple(choices))
    if item["answer_type"] == "float":
        answer = f"{float(answer):.{item['precision']}f}"
    return Problem(key, (question,), answer, "number")


FORMS = {
    "tag": "<think>\nso\n</think>\n<answer>{}</answer>",
    "tag with dollars": "<think>\nso\n</think>\n<answer>${}$</answer>",
    "box": "We add up.\n\nSo we get $\\boxed{{{}}}$.",
    "the answer is": "We add up.\nThe answer is ${}$.",
    "display on the next lines": "The final answer is:\n\\[\n{}\n\\]",
    "heading": "We add up.\n\n### Final Answer\n\n\\({}\\)",
    "bold": "We add up.\n\n**Answer:** {}",
    "therefore": "Because of this, two cases are left.\nTherefore, the answer is $${}$$",
}


def math500(folder: Path) -> Iterator[Reply]:
    """Each key written in eight forms: right every time."""
    for number, row in enumerate(json.loads((folder / "math500.json").read_text(encoding="utf-8"))):
        key, question = row["final_answer"], row["prompt"][0]["value"]
        for form, pattern in FORMS.items():
            yield Reply(form, Problem(str(number), (question,), key, "math"), pattern.format(key), True)


def math_verify_tests(folder: Path) -> Iterator[Reply]:
    """Math-Verify's own cases: a gold and a prediction that are equal or not; the prediction in tags."""
    sys.path.insert(0, str(folder.parent))
    for path in sorted(folder.glob("test_*.py")):
        module = importlib.import_module(f"tests.{path.stem}")
        for name, function in vars(module).items():
            if getattr(function, "__module__", "") != module.__name__:
                continue
            for mark in getattr(function, "pytestmark", ()):
                names = [arg.strip() for arg in mark.args[0].split(",")]
                for values in mark.args[1]:
                    row = dict(zip(names, values, strict=False))
                    if "gold" in row:
                        expected = bool(row.get("expected", row.get("result")))
                        problem = Problem(name, ("?",), row["gold"], "math")
                        yield Reply(name, problem, f"<answer>{row['pred']}</answer>", expected)


SETS = {"gsm8k": gsm8k, "mathvista": mathvista, "math500": math500}


def grade(replies: Iterable[Reply]) -> list[tuple[Reply, Score]]:
    found = list(replies)
    with Grader(workers=2, seconds=20) as grader:
        scores = grader.score_many([(reply.problem, reply.text) for reply in found])
    return list(zip(found, scores, strict=True))


def word(score: Score) -> str:
    if score.correct is None:
        return "unscored"
    return "missing" if score.missing else "right" if score.correct else "wrong"


def table(graded: list[tuple[Reply, Score]]) -> str:
    lines = ["| group | replies | agree | right by ours only | by theirs only | missing | unscored |"]
    lines.append("|---" * 7 + "|")
    for group in dict.fromkeys(reply.group for reply, _ in graded):
        counts: Counter[str] = Counter()
        for reply, score in graded:
            if reply.group == group:
                counts["all"] += 1
                counts[word(score)] += 1
                if bool(score.correct) == reply.official:
                    counts["agree"] += 1
                else:
                    counts["ours" if score.correct else "theirs"] += 1
        names = ("all", "agree", "ours", "theirs", "missing", "unscored")
        lines.append(f"| {group} | {' | '.join(str(counts[name]) for name in names)} |")
    return "\n".join(lines)


def write_differences(path: Path, graded: list[tuple[Reply, Score]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for reply, score in graded:
            if bool(score.correct) != reply.official:
                row = {
                    "group": reply.group,
                    "item": reply.problem.id,
                    "key": reply.problem.answer,
                    "choices": reply.problem.choices,
                    "official": reply.official,
                    "extraction": reply.extraction,
                    "ours": word(score),
                    "extracted": score.extracted,
                    "why": score.why,
                    "question": reply.problem.question[0],
                    "reply": reply.text,
                }
                print(json.dumps(row, ensure_ascii=False), file=file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get(REAL_DATA))
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--math-verify", type=Path, help="tests/ of Math-Verify's source distribution")
    parser.add_argument("--out", type=Path, help="a folder for the replies on which we differ")
    wanted = parser.parse_args()
    replies = {name: SETS[name](wanted.data) for name in wanted.sets} if wanted.data else {}
    if wanted.math_verify:
        replies["math-verify"] = math_verify_tests(wanted.math_verify)
    for name, one in replies.items():
        graded = grade(one)
        print(f"\n{name}\n\n{table(graded)}")
        if wanted.out:
            write_differences(wanted.out / f"{name}.jsonl", graded)


if __name__ == "__main__":
    main()
