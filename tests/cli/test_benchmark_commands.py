"""The command that lists and reads benchmarks."""

from pathlib import Path

from tests.evals.benchmarks.copies import COPIES
from typer.testing import CliRunner

from xreasoner.cli.main import app
from xreasoner.evals.benchmarks import BENCHMARKS


def test_all_are_listed() -> None:
    lines = CliRunner().invoke(app, ["benchmarks"]).stdout.splitlines()
    # In a narrow terminal a cell takes several lines, of which the first begins with the name.
    begun = [line.split()[0] for line in lines if line.strip()]
    assert [name for name in begun if name in BENCHMARKS] == list(BENCHMARKS)


def test_a_copy_is_read_and_shown(tmp_path: Path) -> None:
    path = COPIES["omnimedvqa"](tmp_path)
    shown = CliRunner().invoke(app, ["benchmarks", "omnimedvqa", "--path", str(path)]).stdout
    assert shown.splitlines() == [
        "omnimedvqa: 2 items, image, medicine, published: 88,996",
        "chance level 37.5%",
        "1 items are broken and count as unscored:",
        "  omnimedvqa-Chest_0002: the answer is not an option ('a photograph')",
        "",
        "omnimedvqa-Chest_0000, key B:",
        "[image]",
        "What kind of image is this?",
        "A: MRI",
        "B: X-ray",
        "C: CT",
        "D: Ultrasound",
    ]
