"""The page's example cards: a question, its pictures, every stage's answer. The reader has all of them."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from xreasoner.chat.think import split_thought
from xreasoner.evals.samples import IMAGE_MARK, Sample
from xreasoner.records import OPTION_LETTERS
from xreasoner.report.cards import Card, embedded

LONGEST_SHOWN = 20_000
"""Characters; the reader has the full text."""
READER = "reader/index.html"


def examples(cards: Sequence[Card], answers: int, pictures: Path) -> str:
    """`answers` is how many the reader shows."""
    if not cards:
        return ""
    names = dict.fromkeys(picture for card in cards for picture in card.asked.pictures)
    shown = {name: uri for name in names if (uri := embedded(pictures, name))}
    return (
        f'<p class="all"><a href="{READER}">Read all {answers:,} answers</a>: filter, search, '
        f"compare stages, read training rollouts. It opens from <code>{READER}</code> beside this page.</p>"
        f"{''.join(card_html(card, shown) for card in cards)}"
    )


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
        '<article class="card">'
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
        f'<details class="answer"><summary><span class="stage">{escape(stage)}</span>'
        f'<span class="said">{said}</span>{forced}<span class="tokens">{sample.think_tokens:,} tok</span>'
        f'<span class="chip {verdict}">{verdict}</span></summary>{thinking}'
        f'<pre class="reply">{escape(shortened(reply, LONGEST_SHOWN))}</pre>'
        f'<p class="why">{escape(sample.score.why)}</p></details>'
    )


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
