"""Prepared problems on disk, read one at a time, so that a corpus need not fit in memory."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from xreasoner.records import Problem


class ProblemStore(Sequence[Problem]):
    """`problems.jsonl`, with the offset and the tokens of each problem in `index.npy`."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        index: NDArray[np.int64] = np.load(folder / "index.npy")
        self._places, self.tokens = index[:, 0], index[:, 1]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> list[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | list[Problem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return read_at(self.folder / "problems.jsonl", int(self._places[index]))

    def __iter__(self) -> Iterator[Problem]:
        with (self.folder / "problems.jsonl").open("rb") as file:
            for place in self._places.tolist():
                file.seek(place)
                yield from_json(file.readline())


class ProblemWriter:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "problems.jsonl"
        self._file = self._path.open("wb")
        self._rows: list[tuple[int, int]] = []
        self._digests: list[bytes] = []

    def add(self, problem: Problem, tokens: int) -> None:
        self._rows.append((self._file.tell(), tokens))
        self._digests.append(problem_digest(problem))
        self._file.write(to_json(problem))

    def read(self, number: int) -> Problem:
        """Read a problem that was added before."""
        self._file.flush()
        return read_at(self._path, self._rows[number][0])

    def close(self, without: frozenset[int]) -> str:
        """The fingerprint of the kept problems. Dropped ones stay in the file, but not in the index."""
        self._file.close()
        kept = [row for number, row in enumerate(self._rows) if number not in without]
        save_array(self._path.with_name("index.npy"), np.array(kept, np.int64).reshape(-1, 2))
        kept_digests = (digest for number, digest in enumerate(self._digests) if number not in without)
        return joined_fingerprint(kept_digests)


def save_array(path: Path, array: NDArray[np.int64]) -> None:
    """As `np.save`, which does not say why it cannot write."""
    encoded = io.BytesIO()
    np.save(encoded, array)
    path.write_bytes(encoded.getvalue())


def problem_digest(problem: Problem) -> bytes:
    """Of everything that training reads of a problem."""
    parts = [part if isinstance(part, str) else part.encoded.hex() for part in problem.question]
    read = [problem.id, parts, problem.answer, problem.kind, problem.choices, problem.reasoning]
    return hashlib.sha256(json.dumps(read).encode()).digest()


def joined_fingerprint(digests: Iterable[bytes]) -> str:
    joined = hashlib.sha256()
    for digest in digests:
        joined.update(digest)
    return joined.hexdigest()[:16]


def problems_fingerprint(problems: Iterable[Problem]) -> str:
    """The same for the same problems in the same order, however they were prepared."""
    if isinstance(problems, ProblemStore):
        return problems.fingerprint
    return joined_fingerprint(problem_digest(problem) for problem in problems)


def read_at(path: Path, place: int) -> Problem:
    with path.open("rb") as file:
        file.seek(place)
        return from_json(file.readline())


def to_json(problem: Problem) -> bytes:
    assert not problem.pictures, "a store holds text"
    fields: dict[str, Any] = {name: getattr(problem, name) for name in problem.__dataclass_fields__}
    return json.dumps(fields | {"tags": dict(problem.tags)}, ensure_ascii=False).encode() + b"\n"


def from_json(line: bytes) -> Problem:
    fields = json.loads(line)
    as_written = {"question": tuple(fields["question"]), "choices": tuple(fields["choices"])}
    return Problem(**(fields | as_written | {"tags": MappingProxyType(fields["tags"])}))
