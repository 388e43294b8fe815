"""Tells files that this user wrote from others: a run directory may come from somebody else, reader included.

Chunks are scripts. One that lies there already is kept only if its digest is in a table that is signed with
this user's key.
"""

import hashlib
import hmac
import os
import secrets
from functools import cache
from pathlib import Path

from xreasoner.storage.file_hash import cache_folder

_SIGNATURE = 64
"""Characters of a SHA-256 in hexadecimal."""


@cache
def own_key() -> bytes:
    """Made once. Where the home cannot be written, each process has its own and reads all answers again."""
    path = cache_folder().parent / "reader.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            beside = path.with_name(f"{path.name}.{os.getpid()}")
            beside.touch(mode=0o600)
            beside.write_bytes(secrets.token_bytes(32))
            beside.replace(path)
        return path.read_bytes()
    except OSError:
        return secrets.token_bytes(32)


def signed(content: str) -> str:
    return signature(content.encode()) + content


def read_signed(path: Path) -> bytes | None:
    """None if it is not there, or not this user's."""
    if not path.is_file():
        return None
    written = path.read_bytes()
    content = written[_SIGNATURE:]
    matches = hmac.compare_digest(written[:_SIGNATURE], signature(content).encode())
    return content if matches else None


def signature(content: bytes) -> str:
    return hmac.new(own_key(), content, "sha256").hexdigest()


def digest_of_file(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
