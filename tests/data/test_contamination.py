"""Planted copies of test questions are found, each as its kind; other texts are kept."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from xreasoner.data import words
from xreasoner.data.contamination import Contamination
from xreasoner.data.similar import bands, likeness, shingles
from xreasoner.records import Problem

WORDS = [f"{a}{b}{c}" for a in "bdgklmnprst" for b in "aeiou" for c in ("n", "s", "lo", "ra", "mi", "ket")]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(
        str(rng.randint(2, 999)) if rng.random() < 0.1 else rng.choice(WORDS) for _ in range(length)
    )


def problem(question: str, **changes: object) -> Problem:
    fields = {"id": question[:12], "question": (question,), "answer": "1", "kind": "math"} | changes
    return Problem(**fields)  # type: ignore[arg-type]


RNG = random.Random(0)
TESTS = [problem(sentence(RNG, RNG.randint(15, 60)).capitalize() + "?", id=f"t{i}") for i in range(300)]
INDEX = Contamination({"bench": TESTS})


def found(question: str, **changes: object) -> tuple[str, str] | None:
    leak = INDEX.find(problem(question, **changes))
    return (leak.kind, leak.test_id) if leak else None


def question(number: int) -> str:
    (text,) = TESTS[number].question
    assert isinstance(text, str)
    return text


def other_numbers(text: str) -> str:
    return " ".join(str(int(word) + 7) if word.isdigit() else word for word in text.split())


COPIES = {
    "exact": (lambda text: text, "exact"),
    "upper case": (str.upper, "exact"),
    "other layout": (lambda text: "  " + text.replace(" ", " \n\t") + "\n", "exact"),
    "other punctuation": (lambda text: text.replace(" ", ", ").rstrip("?") + "!", "exact"),
    "typeset": (lambda text: text.replace("?", "\uff1f").replace(" ", "\u00a0"), "exact"),
    "other numbers": (lambda text: other_numbers(text.rstrip("?")) + " 5?", "near"),
    "a word more": (lambda text: text.replace("?", " please?"), "near"),
    "within a longer text": (
        lambda text: f"{sentence(random.Random(text), 80)} {text} {sentence(random.Random(text + 'x'), 80)}",
        "13-gram",
    ),
}


@pytest.mark.parametrize("manner", COPIES)
def test_every_planted_copy_is_found(manner: str) -> None:
    copy, kind = COPIES[manner]
    long_enough = [n for n in range(len(TESTS)) if len(question(n).split()) >= 30]
    assert [found(copy(question(n))) for n in long_enough] == [(kind, f"t{n}") for n in long_enough]


def test_a_copy_with_changed_numbers_is_near_not_exact() -> None:
    numbered = [n for n in range(len(TESTS)) if any(word.isdigit() for word in question(n).split()[1:-1])]
    assert len(numbered) > 200
    assert {found(other_numbers(question(n))) for n in numbered} == {("near", f"t{n}") for n in numbered}


def test_a_thought_that_quotes_a_question_is_found() -> None:
    quoting = f"{sentence(RNG, 500)} {question(7)} {sentence(RNG, 500)}"
    assert found(sentence(RNG, 30), reasoning=quoting) == ("13-gram", "t7")
    assert found(sentence(RNG, 30), answer=quoting) == ("13-gram", "t7")


def test_other_texts_of_the_same_words_are_left_alone() -> None:
    fresh = random.Random("fresh")
    hits = [found(sentence(fresh, 40), reasoning=sentence(fresh, 400)) for _ in range(500)]
    assert [hit for hit in hits if hit] == []


def test_what_many_questions_share_is_no_leak() -> None:
    ending = "Which of the following is the most appropriate next step in the management of this patient?"
    asked = [problem(f"{sentence(RNG, 20)}. {ending}", id=f"m{i}") for i in range(3)]
    fresh = problem(f"{sentence(RNG, 40)}. {ending}")
    index = Contamination({"med": asked})
    assert index.boilerplate == 4  # the ending has 16 words, so 4 stretches of 13
    assert index.find(fresh) is None
    leak = Contamination({"med": asked[:2]}).find(fresh)
    assert leak is not None
    assert leak.kind == "13-gram"


def test_the_same_item_in_several_benchmarks_is_no_boilerplate() -> None:
    index = Contamination(dict.fromkeys("abcd", TESTS[:5]))
    assert (len(index), index.boilerplate) == (5, 0)
    leak = index.find(problem("So: " + question(3)))
    assert leak is not None
    assert (leak.benchmark, leak.test_id) == ("a", "t3")


def test_short_questions_are_compared_with_their_options() -> None:
    index = Contamination(
        {"b": [problem("Which is true?", choices=("Iron", "Gold"), kind="choice", answer="A")]}
    )
    assert index.find(problem("Which is true?", choices=("Tin", "Lead"), kind="choice", answer="A")) is None
    leak = index.find(problem("WHICH is true", choices=("iron", "gold"), kind="choice", answer="A"))
    assert leak is not None
    assert leak.kind == "exact"


def test_without_benchmarks_nothing_is_found() -> None:
    assert Contamination({}).find(problem(question(0), reasoning=question(1))) is None


# --- the arithmetic underneath --------------------------------------------------------------------------


def test_words_are_those_a_plain_loop_finds() -> None:
    text = "It's 3.5 km/h; naïve ＴＥＸＴ — x_1² \\frac{1}{2}!"
    cut = words.words_of(text)
    assert cut.text(0, len(cut)).split() == [
        "it",
        "s",
        "3",
        "5",
        "km",
        "h",
        "naïve",
        "text",
        "x",
        "12",
        "frac",
        "1",
        "2",
    ]
    assert cut.is_number.tolist() == [w.isdigit() for w in cut.text(0, len(cut)).split()]


def test_equal_stretches_have_equal_hashes_wherever_they_stand() -> None:
    some = [RNG.choice(WORDS) for _ in range(5000)]
    hashes = words.words_of(" ".join(some)).hashes
    assert len(set(hashes.tolist())) == len(set(some))
    by_hash: dict[int, tuple[str, ...]] = {}
    for place, value in enumerate(words.grams(hashes, 2).tolist()):
        assert by_hash.setdefault(value, tuple(some[place : place + 2])) == tuple(some[place : place + 2])
    assert len(by_hash) == len(set(itertools.pairwise(some)))


def test_order_matters() -> None:
    assert words.whole(words.words_of("a b").hashes) != words.whole(words.words_of("b a").hashes)
    assert words.whole(words.words_of("a a").hashes) != words.whole(words.words_of("a").hashes)


def test_masking_and_numbers() -> None:
    one, other = words.words_of("buy 3.5 kg for 12 coins"), words.words_of("Buy 7 kg for 1 coins")
    assert np.array_equal(words.masked(one), words.masked(other))
    assert words.numbers(one) != words.numbers(other)
    assert words.numbers(one) == words.numbers(words.words_of("3, 5: 12"))


def test_likeness_is_that_of_sets() -> None:
    one, other = ["a", "b", "c", "d", "e", "f", "g"], ["a", "b", "c", "d", "e", "f", "x"]
    sets = [{tuple(text[i : i + 3]) for i in range(5)} for text in (one, other)]
    arrays = [shingles(words.words_of(" ".join(text)).hashes) for text in (one, other)]
    assert likeness(*arrays) == len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_bands_find_likely_pairs_as_often_as_theory_says() -> None:
    rng, met, likely = random.Random(5), Counter[str](), 0
    for _ in range(300):
        text = [rng.choice(WORDS) for _ in range(60)]
        changed = [*text]
        for place in rng.sample(range(60), 2):
            changed[place] = rng.choice(WORDS)
        one, other = (shingles(words.words_of(" ".join(t)).hashes) for t in (text, changed))
        stranger = shingles(words.words_of(" ".join(rng.choice(WORDS) for _ in range(60))).hashes)
        if likeness(one, other) >= 0.8:
            likely += 1
            met["like"] += bool(set(bands(one).tolist()) & set(bands(other).tolist()))
        met["unlike"] += bool(set(bands(one).tolist()) & set(bands(stranger).tolist()))
    assert likely > 200
    assert met["like"] == likely
    assert met["unlike"] == 0
