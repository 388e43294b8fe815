"""The paper's own figures, shipped as data with their source."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Paper:
    source: str
    columns: tuple[str, ...]
    accuracies: Mapping[str, tuple[float | None, ...]]
    """By benchmark, as fractions; None where the paper gives none."""


@lru_cache(maxsize=1)
def paper() -> Paper:
    content = json.loads(files("xreasoner.report").joinpath("paper.json").read_text(encoding="utf-8"))
    accuracies = {
        name: tuple(None if value is None else round(value / 100, 4) for value in values)
        for name, values in content["benchmarks"].items()
    }
    return Paper(content["source"], tuple(content["columns"]), accuracies)
