"""The page is self-contained and escaped, shows images beside thoughts, and states the findings."""

import io
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from tests.evals.benchmarks import images
from tests.evals.scripted import answers, kept, sample
from tests.report.demo_run import make_run

from xreasoner.evals.statistics import Difference
from xreasoner.records import Score
from xreasoner.report.cards import Card, choose, embedded
from xreasoner.report.curves import read_metrics, smoothed
from xreasoner.report.findings import Finding, find, interval, percent, sentence, signed, verdict
from xreasoner.report.html import since_the_peak, what_changed
from xreasoner.report.html_samples import answer_html, card_html, examples
from xreasoner.report.results import Evaluated, Results, collect
from xreasoner.report.table import print_table
from xreasoner.report.write import write_report
from xreasoner.storage.files import UNFINISHED

VOID = {"meta", "img", "input", "br", "path", "use", "rect", "link"}


class Checker(HTMLParser):
    """Notes what a browser would load, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.classes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.classes += [value or "" for name, value in attrs if name == "class"]
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, tag


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = make_run(tmp_path_factory.mktemp("runs") / "<i>demo&", count=10)
    write_report(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def results(run_dir: Path) -> Results:
    return collect(run_dir)


@pytest.fixture(scope="module")
def page(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text()


def test_the_page_is_whole_in_itself_and_well_formed(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert {address for address in checker.loads if not address.startswith(("#", "data:image/"))} == {
        "reader/index.html"
    }
    assert "@import" not in page and "url(http" not in page
    assert page.count("<svg") == page.count("</svg>") >= 5


def test_what_models_write_stays_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert page.count("<script>") == 1
    assert "&lt;i&gt;demo&amp;" in page and "<i>demo" not in page
    hostile = replace(sample(1, False), text="<b>x", score=Score(False, "<p>", "<u>"))
    question = ('<img src=x onerror="a">',)
    asked = kept("p001", question=question, answer="<s>", choices=("<q>",), tags={"<a>": "<a>"})
    card = card_html(Card('"x', "skill", "<em>", asked, {"<h1>": hostile}), {})
    assert not re.search(r"<(img|b>x|u>|s>|q>|a>|em>|h1>)", card)
    assert '<p class="tags">&quot;x<br>' in card


def test_the_picture_stands_beside_question_key_thought_and_verdict(page: str) -> None:
    cards = page.split('<article class="card"')[1:]
    shown = [card for card in cards if '<p class="tags">sums-image<br>' in card]
    assert shown and all("data:image/png;base64," in card for card in shown)
    assert all(
        text in shown[0] for text in ("work out", 'class="gold"', 'class="thought"', '<span class="chip ')
    )
    texts = [card for card in cards if '<p class="tags">sums-text<br>' in card]
    assert texts and not any("data:image" in card for card in texts)


def test_the_page_leads_to_every_answer(run_dir: Path, page: str) -> None:
    count = sum(len(path.read_bytes().splitlines()) for path in run_dir.glob("evals/*/*.jsonl"))
    assert f'<a href="reader/index.html">Read all {count} answers</a>' in page
    assert (run_dir / "reader" / "index.html").is_file()


def test_colours_are_the_pages_in_every_plot(page: str) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "#0a00" not in plots
    assert "var(--images)" in plots and "var(--stage-1)" in plots
    assert set(re.findall(r"var\((--[\w-]+)\)", plots)) <= set(re.findall(r"(--[\w-]+):", page))


def test_the_same_run_makes_the_same_page(run_dir: Path, page: str) -> None:
    write_report(run_dir)
    assert (run_dir / "report.html").read_text() == page


def test_findings_pool_the_benchmarks_of_a_kind(results: Results) -> None:
    images = find(results)[0]
    assert (images.title, images.domain, images.modality) == ("Images", "general", "image")
    assert set(images.benchmarks) == {"sums-image", "bars-image", "shapes-image"}
    rows = [row for row in results.rows if row.benchmark in images.benchmarks and row.subset == "all"]
    sft = [row.accuracy for row in rows if row.stage == "sft"]
    assert images.points[1].summary.n == 30
    assert images.points[1].summary.accuracy == pytest.approx(sum(sft) / 3)


def test_a_finding_says_what_happened(results: Results) -> None:
    images = find(results)[0]
    said = sentence(images)
    first, last = (percent(point.summary.accuracy) for point in (images.first, images.last))
    assert said.startswith(f"image accuracy on many-step problems, general (n = 30): base {first} -> sft ")
    assert f"rl {last} (" in said and "; from base to rl +" in said


def test_an_interval_reads_as_the_design_writes_it() -> None:
    assert interval(Difference(500, 0.52, 0.47, 0.56, 1e-9)) == "95% [47, 56], p < 0.001"
    assert interval(Difference(500, -0.02, -0.05, 0.01, 0.25)) == "95% [−5, 1], p = 0.250"
    assert [signed(share) for share in (0.52, -0.02, 0.001)] == ["+52", "−2", "0"]
    assert [percent(share) for share in (0, 0.001, 0.61, 0.999, 1)] == ["0%", "0.1%", "61%", "99.9%", "100%"]


@pytest.mark.parametrize(
    ("role", "low", "high", "word"),
    [
        ("skill", 0.01, 0.1, "better"),
        ("skill", -0.1, -0.01, "worse"),
        ("skill", -0.1, 0.1, "unclear"),
        ("perception", -0.04, 0.01, "kept"),
        ("perception", -0.04, -0.01, "worse, within the margin"),
        ("perception", -0.049, 0.0, "kept"),
        ("perception", -0.05, -0.01, "worse"),
        ("perception", -0.06, 0.01, "unclear"),
        ("perception", -0.4, -0.2, "worse"),
    ],
)
def test_a_verdict_claims_no_more_than_the_interval(role: str, low: float, high: float, word: str) -> None:
    change = Difference(100, (low + high) / 2, low, high, 0.5)
    assert verdict(Finding("", "", "image", "general", role, "all", (), (), change)) == word


def test_the_terminal_shows_every_benchmark_with_its_interval(results: Results) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    print_table(results, console)
    shown = console.export_text()
    row = next(row for row in results.rows if (row.stage, row.benchmark) == ("rl", "shapes-image"))
    assert f"{100 * row.accuracy:.1f} [{100 * row.low:.0f}, {100 * row.high:.0f}]" in shown
    for words in ("perception probe, %", "see-bars", "bars-image-without-image", "from base to rl"):
        assert words in shown


def test_cards_show_the_first_items_and_then_what_tells_something() -> None:
    before = answers(*(sample(i, i in (3, 4)) for i in range(8)))
    after = answers(*(sample(i, i in (4, 5)) for i in range(8)))
    cards = choose(Evaluated("sums", "image", "general", "skill", {"base": before, "sft": after}), 2, 9)
    assert [(card.asked.problem.item, card.why) for card in cards] == [
        ("p000", "first items"),
        ("p001", "first items"),
        ("p003", "right before, wrong after"),
        ("p005", "wrong before, right after"),
    ]


def test_a_missing_picture_is_said_to_be_missing_and_a_large_one_made_small(tmp_path: Path) -> None:
    assert embedded(tmp_path, "gone.png") is None
    card = Card("sums", "skill", "", kept("p001", ("gone.png",)), {"base": sample(1, True)})
    assert "picture missing" in examples([card], 1, tmp_path)
    noise = Image.effect_noise((1500, 900), 90)
    noise.save(tmp_path / "large.png")
    uri = embedded(tmp_path, "large.png")
    assert uri is not None and uri.startswith("data:image/jpeg")
    assert len(uri) < (tmp_path / "large.png").stat().st_size


def test_a_broken_a_huge_and_a_foreign_picture_cost_only_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(images.plain())
    bad = {"cut.png": images.plain(size=(900, 900), form="BMP")[:150_000], "text.png": b"API_KEY=1"}
    for name, encoded in (bad | {"bomb.png": images.bomb(), "good.png": images.plain()}).items():
        (folder / name).write_bytes(encoded)
    names = (*bad, "bomb.png", "../outside.png", "a\0b.png", "x" * 5000, "good.png")
    card = Card("sums", "skill", "", kept("p001", names), {"base": sample(1, True)})
    shown = examples([card], 1, folder)
    assert shown.count("picture missing or unreadable") == len(names) - 1
    assert shown.count("<img ") == 1
    assert "API_KEY" not in shown and b64encode(b"API_KEY").decode() not in shown


def test_an_answer_of_a_megabyte_is_shortened() -> None:
    million = 1_000_000
    score = Score(False, "y" * million, "")
    long = replace(sample(1, False), text="<think>" + "x" * million, score=score)
    shown = answer_html("base", long)
    assert len(shown) < 25_000 and "980,000 more characters" in shown


def test_curves_leave_out_a_torn_line_and_smooth_without_shifting(run_dir: Path) -> None:
    rows = read_metrics(run_dir / "stages/1-sft/metrics.jsonl")
    assert [rows[0]["step"], rows[-1]["step"]] == [1, 100]
    line = [float(value) for value in range(100)]
    assert smoothed(line)[50] == 50
    assert len(smoothed(line)) == 100


def test_the_page_says_what_the_mini_world_is(page: str) -> None:
    findings = page.split('id="findings"')[1].split("</section>")[0]
    assert "that were never trained. No photographs" in findings


def test_what_was_lost_since_the_peak_stands_in_the_first_sentence(results: Results) -> None:
    first = find(results)[0]
    assert since_the_peak(first) == "", "the last stage of this run is the best"
    base, sft, rl = first.points
    fallen = replace(first, points=(base, rl, replace(sft, stage="med-rl")))
    lost = round(100 * (sft.summary.accuracy - rl.summary.accuracy))
    expected = f" It was highest after rl, {percent(rl.summary.accuracy)}; −{-lost} points since."
    assert since_the_peak(fallen) == expected


def test_each_stage_says_what_it_gained_and_lost(results: Results, page: str) -> None:
    said = list(what_changed(find(results), results))
    assert [line.split(",")[0] for line in said] == ["<b>sft</b>", "<b>rl</b>"]
    assert "<b>sft</b>, after base: gained images (general)<b> +" in said[0]
    for finding in find(results):
        (point,) = [one for one in finding.points if one.stage == "sft"]
        if finding.role == "skill" and finding.subset == "all" and point.change and point.change.low > 0:
            size = f"{finding.title.lower()} ({finding.domain})<b> {signed(point.change.difference)}</b>"
            assert size in said[0].partition("no clear change")[0]
    assert "without images" not in "".join(said)
    assert page.index('<ul class="learned">') < page.index('class="tiles"')


def test_comparisons_are_folded_by_benchmark(results: Results, page: str) -> None:
    part = page.split('id="comparisons"')[1].split("</section>")[0]
    names = {one.benchmark for one in results.comparisons if one.subset == "all"}
    assert len(re.findall("<details", part)) == len({(o.benchmark, o.subset) for o in results.comparisons})
    for name in names:
        (summary,) = re.findall(rf'<span class="name">{name}</span><span>(.*?)</span></summary>', part)
        assert summary.startswith("base → rl <b"), "the last stage against the first"


def test_only_the_page_of_a_live_run_loads_itself_again(run_dir: Path, page: str) -> None:
    write_report(run_dir, is_live=True)
    live = (run_dir / "report.html").read_text()
    for left in (".results.json", ".report.html", "reader/.answers.js"):
        (run_dir / f"{left}.unfinished-7").touch()  # by a killed report
    write_report(run_dir)
    assert 'http-equiv="refresh"' in live and "the run is in progress" in live
    assert 'http-equiv="refresh"' not in page and "the run is in progress" not in page
    assert not list(run_dir.rglob(f"*{UNFINISHED}*"))
