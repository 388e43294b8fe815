"""X-Reasoner: post-train a vision-language model on text alone, and measure what carries over to images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xreasoner.models.surgery import detach, graft
    from xreasoner.pipeline.api import evaluate, load_engine, run
    from xreasoner.recipe.file import read_recipe
    from xreasoner.recipe.schema import Recipe
    from xreasoner.records import Message, Picture, Problem, Prompt, Reply, Rollout, Sampling, Score
    from xreasoner.rewards.grade import Grader

__version__ = "0.1.0"

__all__ = [
    "Grader",
    "Message",
    "Picture",
    "Problem",
    "Prompt",
    "Recipe",
    "Reply",
    "Rollout",
    "Sampling",
    "Score",
    "detach",
    "evaluate",
    "graft",
    "load_engine",
    "read_recipe",
    "run",
]

_PLACES = {
    "xreasoner.records": ("Message", "Picture", "Problem", "Prompt", "Reply", "Rollout", "Sampling", "Score"),
    "xreasoner.recipe.schema": ("Recipe",),
    "xreasoner.recipe.file": ("read_recipe",),
    "xreasoner.rewards.grade": ("Grader",),
    "xreasoner.models.surgery": ("detach", "graft"),
    "xreasoner.pipeline.api": ("evaluate", "load_engine", "run"),
}


def __getattr__(name: str) -> Any:
    """Imported at first use, so that `import xreasoner` does not import torch."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'xreasoner' has no attribute {name!r}")
