"""Tables in narrow terminals."""

import re

import pytest
from rich.console import Console
from rich.table import Table

from xreasoner.terminal.fitted_table import FittedTable, narrowed


def test_the_widest_columns_give_first_and_no_column_more_than_it_can() -> None:
    assert narrowed([5, 20, 30], [5, 5, 8], 60) == [5, 20, 30], "there is room"
    assert narrowed([5, 20, 30], [5, 5, 8], 45) == [5, 20, 20]
    assert narrowed([5, 20, 30], [5, 5, 8], 25) == [5, 10, 10]
    assert narrowed([5, 20, 30], [5, 5, 15], 25) == [5, 5, 15]
    assert narrowed([5, 20, 30], [5, 5, 8], 17) is None


def drawn(width: int) -> str:
    table = Table("stage", "training", "status", title="what runs", box=None)
    table.add_row("med-sft", "supervised, 240 steps", "refused without --redo med-sft")
    table.add_row("base", "", "")
    console = Console(width=width)
    with console.capture() as capture:
        console.print(FittedTable(table))
    return capture.get()


@pytest.mark.parametrize("width", [16, 30, 40, 60, 200])
def test_no_word_is_broken_or_lost(width: int) -> None:
    words = drawn(width).split()
    assert {"supervised,", "240", "refused", "without", "--redo"} <= set(words)
    assert "…" not in drawn(width)
    assert all(len(line) <= width for line in drawn(width).splitlines())


def test_too_narrow_a_terminal_gets_a_list_of_the_rows() -> None:
    lines = [line.rstrip() for line in drawn(24).splitlines()]
    assert lines[:3] == ["what runs", "med-sft", "  training supervised,"]
    assert lines[-1] == "base"
    assert re.search(r"stage +training +status", drawn(60)), "a table where it fits"
