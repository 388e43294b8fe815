"""How long each phase of a base takes, and at which rate."""

from dataclasses import dataclass, field

from xreasoner.miniworld.base.lessons import Syllabus
from xreasoner.miniworld.model import Size

TEXT = Syllabus(facts=0.09, read=0.19, drill=0.24, options=0.12, restate=0.6, count=0.06, sums=0.10)
TEXT_AND_PICTURES = Syllabus(
    facts=0.08,
    read=0.17,
    drill=0.14,
    options=0.24,
    far_options=0.6,
    no_option=0.35,
    restate=0.6,
    count=0.13,
    sums=0.10,
    choices=0.5,
    think_with_options=0.8,
)
"""After the lessons on text, one seed in three looks options up by name, and another counts badly."""


@dataclass(frozen=True)
class BaseSettings:
    size: Size = field(default_factory=Size)
    seed: int = 0
    rows: int = 32
    """Lessons of a step."""
    text_steps: int = 3000
    text_lr: float = 2e-3
    tower_steps: int = 8000
    tower_lr: float = 3e-3
    views: int = 300
    """Of each symbol by the finished tower. 0: each lesson has new pictures, and takes twice as long."""
    steps: int = 5000
    """Of language model and projector on text and pictures."""
    lr: float = 2e-3
    drawn: float = 0.65
    """Share of scenes that are drawn in that phase."""
