"""No key, token or password is in a file of the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "AWS": r"\bAKIA[0-9A-Z]{16}\b",
    "GitHub": r"\bgh[pousr]_[A-Za-z0-9]{36}",
    "Hugging Face": r"\bhf_[A-Za-z0-9]{30,}\b",
    "OpenAI": r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}",
    "Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Slack": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "address with a password": r"\b[a-z]+://[^\s/:@\"'{}$]+:[^\s/:@\"'{}$]+@",
}
SECRET = re.compile("|".join(f"(?:{form})" for form in SECRETS.values()))


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_secret_is_committed() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {hit[0][:12]}..."
        for path in tracked()
        if path.is_file() and path.suffix not in (".safetensors", ".png")
        for hit in [SECRET.search(path.read_text(encoding="utf-8", errors="replace"))]
        if hit
    ]
    assert found == []


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1" * 18,
        "hf_" + "Ab" * 17,
        "sk-" + "proj-" + "a1" * 20,
        "https://me:" + "word@host/x",
    ],
)
def test_it_would_be_found(secret: str) -> None:
    assert SECRET.search(f"key = {secret}")
