"""The accuracy of a base checkpoint on each probe; stored with it and compared by a test."""

from pathlib import Path

from xreasoner.miniworld.pictures.worlds import VisualWorld
from xreasoner.miniworld.probes.measure import accuracies
from xreasoner.miniworld.problems import TAUGHT
from xreasoner.storage.journal import Say

PROBES = (
    *("read, text", "read, seen looks", "read, new looks", "read, new looks, moved 2"),
    *("one step, text", "one step, images"),
    *("one step, images, asked to think", "one step with options, text"),
    *("many steps, text", "many steps, images", "many steps, images, asked plainly"),
)


def base_accuracies(checkpoint: Path, world: VisualWorld, count: int, say: Say) -> dict[str, float]:
    """Greedy accuracy by probe and family, on development items and in development looks. Each is said."""
    found = accuracies(checkpoint, world, "dev", count, TAUGHT, PROBES)
    flat = {
        f"{probe}: {family}": share for probe, shares in found.items() for family, share in shares.items()
    }
    for name, share in flat.items():
        say(f"  {name:44s} {share:6.1%}")
    return flat
