"""Visual tokens turned away from what they mean, without training.

Suffixes: S visual tokens, E hidden size, W words.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Towards = Literal["one direction", "one per word", "another each time"]
TOWARDS: tuple[Towards, ...] = ("one direction", "one per word", "another each time")


def turned(seen_SE: Tensor, towards_SE: Tensor, cosine: float | Tensor) -> Tensor:
    """Each visual token at this cosine to itself, of its own length, turned towards a direction."""
    lengths_S1 = seen_SE.norm(dim=-1, keepdim=True)
    own_SE = seen_SE / lengths_S1
    across_SE = towards_SE - (towards_SE * own_SE).sum(-1, keepdim=True) * own_SE
    return lengths_S1 * (cosine * own_SE + (1 - cosine**2) ** 0.5 * F.normalize(across_SE, dim=-1))


class Turning(torch.nn.Module):
    """In the projector's place: the projector, and then a turn of what it says."""

    def __init__(self, projector: torch.nn.Module, words_WE: Tensor, towards: Towards, cosine: float) -> None:
        super().__init__()
        self.projector, self.towards, self.cosine = projector, towards, cosine
        self.words_WE = F.normalize(words_WE, dim=-1)
        self.random = torch.Generator().manual_seed(0)
        self.directions_WE = torch.randn(words_WE.shape, generator=self.random)

    def forward(self, features: Tensor) -> Tensor:
        seen_SE = self.projector(features)
        match self.towards:
            case "one direction":
                towards_SE = self.directions_WE[:1].expand_as(seen_SE)
            case "one per word":
                nearest_S = (F.normalize(seen_SE, dim=-1) @ self.words_WE.T).argmax(-1)
                towards_SE = self.directions_WE[nearest_S]
            case "another each time":
                towards_SE = torch.randn(seen_SE.shape, generator=self.random)
        return turned(seen_SE, towards_SE, self.cosine)
