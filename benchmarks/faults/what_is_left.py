"""A folder as a run that goes on with it finds it. Times and process ids do not count."""

import hashlib
import re
from pathlib import Path

NOT_READ = ("log", "lock")
TEXTS = (".json", ".jsonl", ".yaml", ".jinja", ".html")
DIGEST_OR_NUMBER = re.compile(rb"[0-9a-f]{12,}|\d[\d.eE+-]*")
"""Digests of files with times in them differ too."""


def what_is_left(out: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        digest.update(f"\n{path.relative_to(out)}\n".encode())
        if path.is_file() and path.name not in NOT_READ:
            digest.update(compared(path))
    return digest.hexdigest()


def compared(path: Path) -> bytes:
    """Of a text with its numbers replaced, also where it ends: a torn line is not a whole one."""
    content = path.read_bytes()
    return DIGEST_OR_NUMBER.sub(b"#", content) if path.suffix in TEXTS else content
