"""What a problem is about: entries of cells that can be written as words or drawn as a picture."""

from dataclasses import dataclass
from typing import Literal

Look = Literal["glyph", "bar", "shape"]


@dataclass(frozen=True)
class Cell:
    """One drawn symbol, which fills one visual token, and the words that say the same."""

    words: tuple[str, ...]
    look: Look = "glyph"


Entry = tuple[Cell, ...]


@dataclass(frozen=True)
class Scene:
    entries: tuple[Entry, ...]
    per_row: int
    """Entries drawn side by side before the picture starts a new row."""
    separator: str
    """The word written after an entry; empty where entries just follow each other."""

    def words(self) -> list[str]:
        written: list[str] = []
        for entry in self.entries:
            written += [word for cell in entry for word in cell.words]
            written += [self.separator] if self.separator else []
        return written

    def rows(self) -> list[list[Cell]]:
        chunks = range(0, len(self.entries), self.per_row)
        return [[cell for entry in self.entries[i : i + self.per_row] for cell in entry] for i in chunks]

    def part(self, start: int, stop: int) -> "Scene":
        return Scene(self.entries[start:stop], self.per_row, self.separator)
