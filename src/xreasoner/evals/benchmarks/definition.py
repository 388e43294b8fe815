"""What a benchmark is: where its rows are, what a row looks like, and how it becomes a problem."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.records import Modality, Problem

Fields = Mapping[str, Any]
"""One row of a table, by column."""


def belongs_always(fields: Fields) -> bool:
    return True


@dataclass(frozen=True)
class Definition:
    title: str
    modality: Modality
    domain: str
    size: int | None
    """How many questions the published test set has, to the best of our knowledge."""
    columns: tuple[str, ...]
    """What every row must have."""
    read: Callable[[str, Fields, Pictures], Problem]
    """From an id and a row to a problem of that id; raises BadRowError for a row that cannot be asked."""
    hub: str | None
    """The id of the data set; None where a copy of one's own is needed."""
    id_column: str = "id"
    """Names the item; where a row has none, its number does."""
    source: str = ""
    """Where such a copy comes from."""
    belongs: Callable[[Fields], bool] = belongs_always
    """Whether a row is asked: of a larger table some rows are another benchmark's."""
    split: str = "test"
    configs: tuple[str | None, ...] = (None,)
    file: str | None = None
    """Of a data set that is plain files: the table."""
    archive: str | None = None
    """And the zip file with the images that it names."""
