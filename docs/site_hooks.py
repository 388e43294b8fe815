"""For the site: links out of docs/, to files of the repository, become their names."""

import re
from pathlib import Path
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)\s]+\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    assert Path(config["docs_dir"]).name == "docs"
    return OUTSIDE.sub(r"\1", markdown)
