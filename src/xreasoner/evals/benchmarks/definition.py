"""A published benchmark: where its rows are, which columns they have, how a row becomes a problem."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.records import Modality, Problem

Fields = Mapping[str, Any]
"""A row of a table, by column."""


def belongs_always(fields: Fields) -> bool:
    return True


@dataclass(frozen=True)
class Definition:
    title: str
    modality: Modality
    domain: str
    size: int | None
    """The size of the published test set, as far as we know it."""
    columns: tuple[str, ...]
    """Columns that every row must have."""
    read: Callable[[str, Fields, Pictures], Problem]
    """Makes a problem with this id from a row; raises BadRowError if it cannot be asked."""
    hub: str | None
    """The data set's id on the hub; None if users must bring their own copy."""
    id_column: str = "id"
    """The column with the item's id; rows without one are numbered."""
    source: str = ""
    """Where to get that copy."""
    belongs: Callable[[Fields], bool] = belongs_always
    """Selects this benchmark's rows from a larger table."""
    split: str = "test"
    configs: tuple[str | None, ...] = (None,)
    rows: int | None = None
    """The size of the whole published table, where `belongs` selects from it; checked instead of `size`."""
    layouts: tuple[str, ...] = ()
    """Where the table is in a local copy, as patterns; the first that matches is read."""
    file: str | None = None
    """The table, if the data set is a folder of plain files."""
    archive: str | None = None
    """The zip file with the images that the table names."""
