"""One answered and graded question as a JSON line, and files of such lines that survive a kill."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from xreasoner.storage.files import write_atomically

Key = tuple[str, int]
"""A problem's id and the number of the sample."""


@dataclass(frozen=True)
class Sample:
    id: str
    item: str
    """What two views of the same problem share; the problem's id where it has no other view."""
    sample: int
    asked: str
    """A digest of all that was asked, and how: another question makes this line worthless."""
    question: str
    choices: tuple[str, ...]
    pictures: tuple[str, ...]
    """File names in the folder `pictures` beside the stages' folders."""
    tags: Mapping[str, str | int]
    gold: str
    extracted: str | None
    correct: bool | None
    why: str
    forced: bool
    stop: str
    think_tokens: int
    text: str = field(repr=False)
    kind: str = ""
    """How the answer is compared; empty in lines from before this was kept."""
    broken: bool = False
    """It could not be asked, or the engine refused it; `why` says so."""
    tokens: tuple[int, ...] = field(default=(), repr=False)
    """Kept only where shorter budgets are answered from the beginning of this answer."""

    @property
    def key(self) -> Key:
        return self.id, self.sample

    @property
    def missing(self) -> bool:
        return self.extracted is None and self.correct is not None

    @property
    def unscored(self) -> bool:
        """The grader failed."""
        return self.correct is None and not self.broken


def to_line(sample: Sample) -> str:
    fields = asdict(sample)
    if not sample.tokens:
        del fields["tokens"]
    return json.dumps(fields, ensure_ascii=False) + "\n"


def from_line(line: str) -> Sample:
    fields = json.loads(line)
    lists = {name: tuple(fields[name]) for name in ("choices", "pictures", "tokens") if name in fields}
    return Sample(**{**fields, **lists})


def read_samples(path: Path) -> Iterator[Sample]:
    """All whole lines; a last one torn by a kill is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield from_line(line.decode())


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    write_atomically(path, "".join(map(to_line, samples)).encode())
