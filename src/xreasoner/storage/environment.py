"""The versions of what computes a result."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("xreasoner", "torch", "transformers", "math-verify", "vllm")


def installed_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # not installed, or run from a source folder
            continue
    return found
