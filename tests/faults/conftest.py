"""What the small run leaves if nothing happens to it."""

from pathlib import Path

import pytest
from tests.faults.runs import outcome, run


@pytest.fixture(scope="session")
def unbroken(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    run(tiny_base, out)
    return outcome(out)
