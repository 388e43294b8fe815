"""Worlds from tied to free: each loosens one more tie between what is drawn and what is written."""

from dataclasses import dataclass, replace

RowSections = tuple[int, int, int]
ROW: RowSections = (0, 1, 15)
"""Rope frequencies of time, height and width: a drawn row has the positions of a written one."""
QWENS: RowSections = (4, 6, 6)
"""In the proportions of Qwen2.5-VL: 16, 24, 24 of 64."""


@dataclass(frozen=True)
class VisualWorld:
    name: str
    offset: int = 1
    """Most pixels by which a symbol is moved from the middle of its tokens, if it has tokens of its own."""
    shift: int = 0
    """Most pixels by which the whole picture is moved, in any direction, across the borders of tokens."""
    varied: bool = False
    """Fonts, sizes, colours, noise and JPEG; otherwise all pictures look alike."""
    pull: float = 1.0
    """Weight of the distance between a visual token and the embedding of its word. 0: language loss alone."""
    tokens: int = 1
    """Visual tokens that a symbol has to itself, side by side. 0: symbols are anywhere, across borders."""
    sections: RowSections = ROW
    plane: bool = False
    """Several rows, and bar charts with an axis, instead of one row."""


def _levels() -> tuple[VisualWorld, ...]:
    tied = VisualWorld("tied")
    moved = replace(tied, name="moved", offset=4, shift=3)
    varied = replace(moved, name="varied", varied=True)
    unpulled = replace(varied, name="language loss", pull=0.0)
    wide = replace(unpulled, name="two tokens", tokens=2, offset=28)
    across = replace(unpulled, name="across tokens", tokens=0, shift=0)
    own = replace(across, name="own positions", sections=QWENS)
    free = replace(own, name="two dimensions", plane=True)
    return tied, moved, varied, unpulled, wide, across, own, free


LEVELS = _levels()
QUICKSTART = LEVELS[3]
"""The freest world in which a base of this size can still be made to read."""


def level_named(level: int) -> VisualWorld:
    if level not in range(len(LEVELS)):
        raise ValueError(f"level {level}: there are worlds from 0 (tied) to {len(LEVELS) - 1} (free)")
    return LEVELS[level]
