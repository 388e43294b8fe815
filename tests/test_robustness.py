"""docs/robustness.md names a test for each fault that was found, and all of them exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_\w+)`")


def test_every_test_that_is_named_exists() -> None:
    page = (ROOT / "docs" / "robustness.md").read_text()
    named = NAMED.findall(page)
    missing = [(file, name) for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
    table = page.partition("## The faults that were found from outside")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15 and all(NAMED.search(row) for row in rows)
