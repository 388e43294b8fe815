"""Texts in small compressed files that a page loads by <script>, since `fetch` does not read from disk.

A chunk is a JSON list of what belongs to each text, then the texts, with a NUL before each: the page can
search the texts without parsing them. Its file is named by its content, so equal texts are written once,
and a second build writes only what is new.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from xreasoner.report.reader.own_files import digest_of_file
from xreasoner.storage.disk import errors_named
from xreasoner.storage.files import remove, unfinished

MOST_TEXTS, MOST_CHARACTERS = 256, 400_000
"""Of a chunk; a longer text has a chunk of its own."""
SEPARATOR = "\0"
LEVEL = 4


class ChunkWriter:
    """`add` texts in order; afterwards `places` has the chunk of each and its number there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.counts: list[int] = []
        self.digests: dict[str, str] = {}
        self._facts: list[Mapping[str, Any]] = []
        self._texts: list[str] = []
        self._characters = 0

    def add(self, text: str, facts: Mapping[str, Any]) -> None:
        if self._texts and self._characters + len(text) > MOST_CHARACTERS:
            self.flush()
        self._texts.append(text.replace(SEPARATOR, "\u2400"))
        self._facts.append(facts)
        self._characters += len(text)
        if len(self._texts) == MOST_TEXTS:
            self.flush()

    def flush(self) -> None:
        if self._texts:
            name, digest = write_chunk(self.folder, self._facts, self._texts)
            self.names.append(name)
            self.digests[name] = digest
            self.counts.append(len(self._texts))
        self._facts, self._texts, self._characters = [], [], 0


def write_chunk(folder: Path, facts: list[Mapping[str, Any]], texts: list[str]) -> tuple[str, str]:
    """Returns the name of the chunk and the SHA-256 of its file."""
    body = SEPARATOR.join([json.dumps(facts, separators=(",", ":")), *texts]).encode(errors="replace")
    name = xxhash.xxh3_128_hexdigest(body)
    packed = base64.b64encode(zlib.compress(body, LEVEL)).decode()
    content = f'xreasonerReader.chunk("{name}","{packed}")\n'
    digest = hashlib.sha256(content.encode()).hexdigest()
    if digest_of_file(folder / f"{name}.js") != digest:
        write_once(folder / f"{name}.js", content)
    return name, digest


def write_once(path: Path, content: str) -> None:
    """Complete or not at all, and not synced: after a power failure the folder is built again."""
    beside = unfinished(path)
    with errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content.encode(errors="replace"))
            beside.replace(path)
        except BaseException:
            remove(beside)
            raise
