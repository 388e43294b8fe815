"""The recipes that come with the package, so that `xreasoner run quickstart` works wherever one is."""

from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_PLACES = (_PACKAGE / "recipes", _PACKAGE.parent.parent / "recipes")
"""In an installed package, and in a checkout."""


def shipped_recipes() -> dict[str, Path]:
    """By the name that the command line takes: `quickstart`, `distill/medqa`."""
    (folder, *_) = (place for place in _PLACES if place.is_dir())
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))
    }


def recipe_path(named: Path, what: str) -> Path:
    """A file as it is named, else the recipe of that name that comes with the package."""
    if named.is_file():
        return named
    shipped = shipped_recipes()
    if str(named) in shipped:
        return shipped[str(named)]
    if len(named.parts) > 1 or named.suffix:
        raise ValueError(f"{named}: no such {what} file")
    close = get_close_matches(str(named), shipped, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(shipped)}"
    raise ValueError(f"{named}: no such {what} file, and no recipe of that name; {hint}")
