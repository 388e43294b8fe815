"""A policy loss and an advantage of your own, named in a recipe as `examples/my_losses.py:soft_clip`."""

from collections.abc import Sequence

import torch

from xreasoner.train.policy_loss import LossInputs, LossOutputs


def soft_clip(inputs: LossInputs) -> LossOutputs:
    """Bends the ratio instead of cutting it: far tokens keep a little of their gradient."""
    ratio_N = torch.exp(inputs.logprob_N - inputs.old_logprob_N)
    bent_N = 1 + inputs.clip_high * torch.tanh((ratio_N - 1) / inputs.clip_high)
    return LossOutputs(loss_N=-bent_N * inputs.advantage_N, clipped_N=(ratio_N - 1).abs() > inputs.clip_high)


def winners_only(rewards: Sequence[float]) -> list[float]:
    """Reinforces what was above the mean and ignores the rest."""
    mean = sum(rewards) / len(rewards)
    return [max(0.0, reward - mean) for reward in rewards]
