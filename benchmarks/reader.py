"""The reader on 100,000 answers: how long it takes to write, and in Chromium to open, filter and search.

    python benchmarks/reader.py [--answers 100000] [--keep FOLDER]

Needs `npm ci` in reader/, and Chromium. The run is generated: four stages answer the same items, and
thoughts have about 3,000 characters with formulas.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from xreasoner.evals.samples import KeptProblem, Sample, problems_path, write_finished, write_problems
from xreasoner.evals.task import ASKED
from xreasoner.records import Problem, Score
from xreasoner.report.reader.write_reader import write_reader
from xreasoner.storage.checked_json import write_checked_json
from xreasoner.storage.disk import folder_size

ROOT = Path(__file__).parent.parent
STAGES = {"base": 0.3, "sft": 0.45, "rl": 0.6, "med-rl": 0.55}
BENCHMARKS = ("gsm8k", "mmlu-pro", "mmmu-pro", "medqa", "mathvista")
SUBJECTS = ("algebra", "biology", "chemistry", "geometry", "law", "physics")
CHARACTERS = 3_000
SYLLABLES = ("ta", "ri", "mon", "ver", "lo", "sen", "qua", "di", "pel", "ur", "cas", "ine", "th", "ol")


def make_run(run_dir: Path, answers: int) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(20_000)]
    each = answers // len(STAGES) // len(BENCHMARKS)
    for benchmark in BENCHMARKS:
        problems = [make_problem(benchmark, number, words, rng) for number in range(each)]
        for stage, chance in STAGES.items():
            path = run_dir / "evals" / stage / f"{benchmark}.jsonl"
            write_problems(problems_path(path), problems)
            facts = {
                "modality": "text",
                "domain": "general",
                "role": "skill",
                "n": each,
                "sampling": {"n": 1},
            }
            write_finished(path, samples(problems, chance, words, rng), facts)
    asked = {"stages": list(STAGES), "benchmarks": list(BENCHMARKS), "budgets": []}
    write_checked_json(run_dir / "evals" / ASKED, asked)


def make_problem(benchmark: str, number: int, words: list[str], rng: random.Random) -> KeptProblem:
    question = " ".join(rng.choices(words, k=60)) + " what is $x^2$?"
    name = f"{benchmark}-{number:05}"
    tags = {"subject": rng.choice(SUBJECTS), "level": rng.randint(1, 5)}
    return KeptProblem(
        Problem(name, (question,), str(number), "math", item=name, source=benchmark, tags=tags)
    )


def samples(
    problems: list[KeptProblem], chance: float, words: list[str], rng: random.Random
) -> Iterator[Sample]:
    for number, kept in enumerate(problems):
        is_right, forced = rng.random() < chance, rng.random() < 0.05
        said = kept.problem.answer if is_right else str(rng.randint(0, 99))
        score = Score(is_right, said, "the last <answer>")
        text = thought(words, rng, rare=number == 0) + f"\n</think>\n<answer>{said}</answer>"
        yield Sample(kept.problem.id, 0, "", score, forced, "eos", len(text) // 4, text)


def thought(words: list[str], rng: random.Random, rare: bool) -> str:
    parts = ["<think>\n", "rarest-of-all " if rare else ""]
    length = rng.randint(CHARACTERS // 3, CHARACTERS * 5 // 3)
    while sum(map(len, parts)) < length:
        parts.append(" ".join(rng.choices(words, k=25)))
        parts.append(
            f". So \\(x_{rng.randint(1, 9)} = \\frac{{{rng.randint(1, 99)}}}{{{rng.randint(2, 9)}}}\\). "
        )
        parts.append("Wait, let me check.\n" if rng.random() < 0.02 else "")
    return "".join(parts)


def written(run_dir: Path, out: Path) -> tuple[float, int]:
    """CPU seconds, and the number of answers."""
    began = time.process_time()
    found = write_reader([run_dir], out)
    return time.process_time() - began, found.answers


def in_chromium(out: Path) -> None:
    done = subprocess.run(
        ["node", ROOT / "reader" / "measure.mjs", out], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    slowest = max(found["filters"], key=lambda one: one[1])
    filters = [seconds for _, seconds in found["filters"]]
    print(f"first view: {in_words(found['firstViews'])}")
    print(f"filter: {in_words(filters)}; the slowest: {slowest[0]}")
    print(f"next item: {in_words(found['items'])}")
    for one in found["searches"]:
        times = f"first {one['first']} ms, all {one['whole']} ms, {one['cpu']:.1f} CPU s"
        print(f"search {one['words']!r}: {one['found']}; {times}")
    print(
        f"memory of the page: {found['atFirst']:.0f} MiB, after the searches {found['afterSearch']:.0f} MiB"
    )


def in_words(milliseconds: list[float]) -> str:
    return f"median {statistics.median(milliseconds):.0f} ms, at most {max(milliseconds):.0f} ms"


def measure(folder: Path, answers: int) -> None:
    run_dir, out = folder / "run", folder / "run" / "reader"
    if not run_dir.exists():
        make_run(run_dir, answers)
    seconds, count = written(run_dir, out)
    texts = sum(path.stat().st_size for path in run_dir.glob("evals/*/*.jsonl"))
    print(f"{count:,} answers of {texts / count:,.0f} bytes")
    size, files = folder_size(out) / 2**20, sum(path.is_file() for path in out.rglob("*"))
    print(f"writing: {seconds:.1f} CPU s, {size:,.0f} MiB in {files:,} files")
    print(f"writing again, nothing new: {written(run_dir, out)[0]:.1f} CPU s")
    in_chromium(out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder for the generated run, used again if it is there")
    given = parser.parse_args()
    if given.keep:
        measure(given.keep, given.answers)
        return
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), given.answers)


if __name__ == "__main__":
    main()
