"""A table, or where the terminal is too narrow for its words, a list of its rows."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

UNLIMITED = 100_000


class FittedTable:
    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(console, options)
        if widths is None:
            yield from self._records()
            return
        for column, width in zip(self._table.columns, widths, strict=True):
            column.width, column.overflow = width, "fold"
        yield self._table

    def _widths(self, console: Console, options: ConsoleOptions) -> list[int] | None:
        """Of each column, narrowed between words; None where a word would have to be broken."""
        wide = options.update(width=UNLIMITED)
        ranges = [
            [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
            for column in self._table.columns
        ]
        least = [max(one.minimum for one in cells) for cells in ranges]
        widths = [max(one.maximum for one in cells) for cells in ranges]
        around = Measurement.get(console, wide, self._table).maximum - sum(widths)
        return narrowed(widths, least, options.max_width - around)

    def _records(self) -> Iterator[RenderableType]:
        if self._table.title:
            yield Text(str(self._table.title), style="bold")
        _, *heads = (str(column.header).replace("\n", " ") for column in self._table.columns)
        for title, *cells in zip(*(column.cells for column in self._table.columns), strict=True):
            parts = [
                (f"{head} ", plain(cell)) for head, cell in zip(heads, cells, strict=True) if plain(cell)
            ]
            said = Text(" · ").join(Text.assemble((head, "dim"), cell) for head, cell in parts)
            yield Text(plain(title), style="bold")
            if parts:
                yield Padding(said, (0, 0, 0, 2))


def plain(cell: object) -> str:
    return str(cell).replace("\n", ", ")


def narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Takes from the widest columns first, and from none more than it can give."""
    if sum(least) > room:
        return None
    found = list(widths)
    for _ in range(sum(found) - room):
        widest = max(
            (place for place in range(len(found)) if found[place] > least[place]),
            key=lambda place: found[place],
        )
        found[widest] -= 1
    return found
