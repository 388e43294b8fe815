"""Decontamination: the share of planted copies that is found, by kind of change, and false positives.

python benchmarks/decontamination.py
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable

from side_by_side import alone, record
from synthetic_corpora import CHARACTERS_A_TOKEN, MEAN_TOKENS, Writer
from xreasoner.data.contamination import Contamination
from xreasoner.records import Problem

QUESTIONS = 12_000
"""As many as MMLU-Pro has."""


def other_numbers(text: str) -> str:
    return " ".join(str(int(word) + 1) if word.isdigit() else word for word in text.split())


def other_word(text: str) -> str:
    words = text.split()
    return " ".join([*words[:20], "other", *words[21:]])


MANNERS: dict[str, tuple[str, Callable[[str, Writer], str]]] = {
    "exact": ("exact", lambda text, writer: text),
    "re-cased": ("exact", lambda text, writer: text.upper()),
    "re-spaced": ("exact", lambda text, writer: text.replace(" ", "  \n")),
    "re-punctuated": ("exact", lambda text, writer: text.replace(" ", ", ")),
    "numbers changed": ("near", lambda text, writer: other_numbers(text)),
    "one word changed": ("near", lambda text, writer: other_word(text)),
    "within a longer text": (
        "13-gram",
        lambda text, writer: f"{writer.fresh(100)} {text} {writer.fresh(100)}",
    ),
}
"""How a question is changed, and which kind of match should find it."""


def problem(question: str, thought: str = "") -> Problem:
    return Problem("x", (question,), "1", "math", reasoning=thought)


def found(asked: list[str], index: Contamination, planted: int) -> list[dict[str, object]]:
    """A copy counts as found if the kind of match and the original question are both right."""
    entries, other = [], Writer(4)
    for manner, (kind, change) in MANNERS.items():
        kinds: Counter[str] = Counter()
        for number in range(planted):
            leak = index.find(problem(change(asked[number], other)))
            kinds[leak.kind if leak and leak.test_id == str(number) else "missed"] += 1
        print(f"{manner:22} {dict(kinds)}", flush=True)
        title = f"decontamination: {manner}, {planted:,} copies planted, found as {kind}"
        entries.append(alone(title, 100 * kinds[kind] / planted, "%", "100"))
    return entries


def disjoint(index: Contamination, chains: int) -> list[dict[str, object]]:
    """Chains of the same words in another order; generating them is not timed."""
    other, wrong, seconds = Writer(5), 0, 0.0
    for _ in range(chains):
        chain = problem(other.fresh(45), other(int(MEAN_TOKENS * CHARACTERS_A_TOKEN)))
        began = time.process_time()
        wrong += index.find(chain) is not None
        seconds += time.process_time() - began
    return [
        alone(f"decontamination: false positives in {chains:,} disjoint chains", wrong, "chains", "0"),
        alone(
            f"decontamination: chains of {MEAN_TOKENS:,} tokens against {QUESTIONS:,} questions",
            chains / seconds,
            "chains/CPU second",
            "minutes for 114k",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planted", type=int, default=1000, help="copies per kind of change")
    parser.add_argument("--disjoint", type=int, default=20_000, help="chains that share no question")
    given = parser.parse_args()
    writer = Writer(3)
    asked = [f"{writer.fresh(45)} 12 and 7 ?" for _ in range(QUESTIONS)]
    index = Contamination({"bench": [Problem(str(i), (text,), "1", "math") for i, text in enumerate(asked)]})
    record([*found(asked, index, given.planted), *disjoint(index, given.disjoint)])


if __name__ == "__main__":
    main()
