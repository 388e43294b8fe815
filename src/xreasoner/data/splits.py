"""Which split of a dataset a file holds, by the names of its folders and its own."""

import re
from pathlib import Path

SPLITS = ("train", "validation", "test")


def names_split(file: Path, split: str) -> bool:
    """For example `train-00000-of-00006.parquet`, `no_exclude_train.jsonl`, `train/data-00000.arrow`."""
    return any(re.fullmatch(rf"(.*[-_.])?{re.escape(split)}([-_.].*)?", part) for part in file.parts)
