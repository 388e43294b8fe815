"""What the frozen tower says about each symbol in many looks, so that most lessons need no new pictures.

Suffixes: C symbols, K views of each, S visual tokens of a symbol, F features.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.base.encode import LessonEncoder, tower_features
from xreasoner.miniworld.base.lessons import CELLS, Lesson
from xreasoner.miniworld.base.tower import SHOWN
from xreasoner.miniworld.scene import Scene


@dataclass(frozen=True)
class FeatureBank:
    """A picture is put together from features of its symbols. Each was seen among others, in a look of its
    own, so symbols of one such picture differ in look, and what a token shows of neighbours is not theirs."""

    features_CKSF: Tensor

    def pick(self, scene: Scene, rng: random.Random) -> Tensor:
        """One view of each symbol of the scene: (its visual tokens, F)."""
        views = self.features_CKSF.shape[1]
        picked = [self.features_CKSF[INDEX[cell.word], rng.randrange(views)] for cell in scene.cells]
        return torch.cat(picked).float()


INDEX = {cell.word: i for i, cell in enumerate(CELLS)}


def fill_bank(
    model: Qwen2_5_VLForConditionalGeneration, encoder: LessonEncoder, rng: random.Random, views: int
) -> FeatureBank:
    """Pictures of all symbols in random order, `views` times."""
    width = encoder.world.tokens
    assert width, "symbols need visual tokens of their own"
    seen: list[Tensor] = []
    for _ in range(views):
        order = rng.sample(CELLS, len(CELLS))
        scenes = [Scene(tuple(order[i : i + SHOWN])) for i in range(0, len(order), SHOWN)]
        batch = encoder.batch([Lesson("", (scene,), "x") for scene in scenes], rng)
        with torch.no_grad():
            drawn_CSF = tower_features(model, batch).view(len(order), width, -1)
        places = torch.tensor([INDEX[cell.word] for cell in order])
        # Half precision halves a few hundred megabytes, and the features are noisy views anyway.
        seen.append(torch.empty_like(drawn_CSF).index_copy_(0, places, drawn_CSF).half())
    return FeatureBank(torch.stack(seen, dim=1))
