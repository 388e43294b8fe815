"""What samples GRPO's answers: the trained model itself, or an engine with a copy of its weights."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from xreasoner.models.load import Loaded
from xreasoner.models.read_weights import empty_model_of, give_memory
from xreasoner.parallel import World, full_weight, rejoining
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.choose import Longest, choose_engine
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train.policy import Policy, trained_weights


class FollowingEngine(Engine, Protocol):
    """An engine with weights of its own."""

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None: ...

    def sleep(self) -> None:
        """Free memory that the trainer needs; the next call wakes the engine up."""
        ...


class Sampler:
    """The torch engine samples from the trained model itself. Other engines get the new weights first."""

    def __init__(self, engine: Engine, policy: Policy, follower: FollowingEngine | None = None) -> None:
        self._engine, self._policy, self._follower = engine, policy, follower
        # At the start the engine has the base weights. After a resume the trained ones differ from them.
        self._is_behind = True
        self.sync_seconds = 0.0
        """Of the latest answers: what their weights took to get here."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        began = time.monotonic()
        if self._follower and self._is_behind:
            self._follower.take_weights(TrainedWeights(self._policy))
        self._is_behind = False
        self.sync_seconds = time.monotonic() - began
        # Layers compiled for training would be compiled again for each number of rows in progress.
        with torch.compiler.set_stance("force_eager"):
            yield from self._engine.generate(prompts, sampling)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around everything that changes the weights."""
        if self._follower:
            self._follower.sleep()
        yield
        self._is_behind = True


@contextmanager
def open_sampler(
    settings: GrpoStage, start: Path, policy: Policy, longest: Longest = lambda: None
) -> Iterator[Sampler]:
    """Each rank samples its own share of the answers."""
    world = policy.world
    match choose_engine(settings.rollout, start, world.device):
        case "torch" if needs_copy(policy):
            lm = empty_copy(policy.lm, policy.compute_dtype, world.device)
            copied = CopiedEngine(Loaded(lm, policy.tokenizer, None), settings.rows)
            yield Sampler(copied, policy, copied)
        case "torch":
            loaded = Loaded(policy.lm, policy.tokenizer, None)
            yield Sampler(TorchEngine(loaded, max_rows=settings.rows), policy)
        case "vllm":
            from xreasoner.rollout.vllm_engine.engine import VllmEngine

            engine = VllmEngine(
                start, policy.compute_dtype, settings.rows, settings.rollout_memory, longest=longest()
            )
            yield Sampler(engine, policy, engine)
            with rejoining(world):
                engine.close()
        case "server":
            server = open_server(settings, start, world)
            yield Sampler(server, policy, server)


def needs_copy(policy: Policy) -> bool:
    """Sharded weights are no model to sample from. Float32 ones would be converted again for every token."""
    in_float32 = policy.lora is None and policy.compute_dtype != torch.float32
    return policy.world.size > 1 or in_float32


def open_server(settings: GrpoStage, start: Path, world: World) -> FollowingEngine:
    from xreasoner.rollout.vllm_engine.remote_engine import RemoteVllmEngine

    assert settings.server is not None
    return RemoteVllmEngine(settings.server, start, world)


def empty_copy(lm: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """It gets its weights from the trained shards before it is used, so nothing is read into host memory."""
    copy = empty_model_of(deepcopy(lm.config), dtype, device)
    copy.generation_config = lm.generation_config
    give_memory(copy, device)
    copy.tie_weights()
    return copy.requires_grad_(False)


@torch.no_grad()
def fill_copy(copy: PreTrainedModel, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Each weight is gathered whole, one after the other. All ranks call this."""
    own = copy.state_dict()
    for name, weight in weights:
        own[name].copy_(full_weight(weight))


class CopiedEngine(TorchEngine):
    """Has a full model of its own, in the precision of the computation."""

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        fill_copy(self.loaded.model, weights)

    def sleep(self) -> None:
        """Does nothing: the copy is small beside the states of the optimizer."""


class TrainedWeights:
    """The weights as a checkpoint would hold them now. Can be iterated more than once."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return trained_weights(self._policy, self._policy.compute_dtype)
