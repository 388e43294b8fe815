"""The page's sample browser: cards with pictures and answers, and filters."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from xreasoner.chat.think import split_thought
from xreasoner.evals.samples import IMAGE_MARK, Sample
from xreasoner.records import OPTION_LETTERS
from xreasoner.report.cards import Card, embedded

MOST_PICTURES = 400
LONGEST_SHOWN = 20_000
"""Characters; the samples' file has the full text."""
VERDICTS = ("right", "wrong", "missing", "unscored")


def browser(cards: Sequence[Card], stages: Sequence[str], pictures: Path) -> str:
    if not cards:
        return ""
    names = dict.fromkeys(picture for card in cards for picture in card.asked.pictures)
    shown = {name: uri for name in list(names)[:MOST_PICTURES] if (uri := embedded(pictures, name))}
    benchmarks = list(dict.fromkeys(card.benchmark for card in cards))
    return (
        '<div class="filters" role="search">'
        f"{select('stage', stages)}{select('benchmark', benchmarks)}{select('verdict', VERDICTS)}"
        f"{select('why', sorted({card.why for card in cards}))}"
        '<label><input type="checkbox" data-filter="forced"> forced exits only</label>'
        '<input type="search" data-filter="words" placeholder="search" aria-label="words">'
        f'<output id="count">{len(cards)} items</output></div>'
        f'<div id="cards">{"".join(card_html(card, shown) for card in cards)}</div>'
    )


def select(name: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(value)}">{escape(value)}</option>' for value in values)
    first = {"why": "any reason shown"}.get(name, f"any {name}")
    options = f'<option value="">{first}</option>{options}'
    return f'<select data-filter="{name}" aria-label="{name}">{options}</select>'


def card_html(card: Card, pictures: dict[str, str]) -> str:
    problem = card.asked.problem
    images = "".join(
        f'<img src="{pictures[name]}" alt="picture of this question" loading="lazy">'
        if name in pictures
        else '<p class="gone">picture missing or unreadable</p>'
        for name in card.asked.pictures
    )
    options = "".join(
        f"<li><b>{letter}</b> {escape(choice)}</li>"
        for letter, choice in zip(OPTION_LETTERS, problem.choices, strict=False)
    )
    tags = " · ".join(f"{escape(str(key))} {escape(str(value))}" for key, value in problem.tags.items())
    answers = "".join(answer_html(stage, answer) for stage, answer in card.answers.items())
    question = escape(card.asked.question.replace(IMAGE_MARK, "").strip())
    return (
        f'<article class="card" data-benchmark="{escape(card.benchmark)}" data-why="{escape(card.why)}">'
        f'<div class="asked">{images}<p class="question">{question}</p>'
        f'{f"<ul>{options}</ul>" if options else ""}<p class="gold">key <b>{escape(problem.answer)}</b></p>'
        f'<p class="tags">{escape(card.benchmark)}<br>{tags}<br>{escape(card.why)}</p></div>'
        f'<div class="answers">{answers}</div></article>'
    )


def answer_html(stage: str, sample: Sample) -> str:
    verdict = sample.verdict
    found = sample.score.extracted
    said = escape(shortened(found, 80)) if found is not None else "no answer"
    forced = '<span class="chip forced">forced</span>' if sample.forced else ""
    forced += '<span class="chip cut">cut</span>' if sample.cut else ""
    thought, reply = split_thought(sample.text)
    thinking = f'<pre class="thought">{escape(shortened(thought, LONGEST_SHOWN))}</pre>' if thought else ""
    return (
        f'<details class="answer" data-stage="{escape(stage)}" data-verdict="{verdict}" '
        f'data-forced="{int(sample.forced)}"><summary><span class="stage">{escape(stage)}</span>'
        f'<span class="said">{said}</span>{forced}<span class="tokens">{sample.think_tokens:,} tok</span>'
        f'<span class="chip {verdict}">{verdict}</span></summary>{thinking}'
        f'<pre class="reply">{escape(shortened(reply, LONGEST_SHOWN))}</pre>'
        f'<p class="why">{escape(sample.score.why)}</p></details>'
    )


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
