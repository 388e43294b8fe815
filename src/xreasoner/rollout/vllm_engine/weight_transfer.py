"""Sends new weights from the trainer to running vLLM servers, over vLLM's weight-transfer interface.

All workers of all servers join one group with the trainer, so that each weight is gathered and sent once.
"""

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from xreasoner.parallel import free_port, full_weight

One = TypeVar("One")
Returned = TypeVar("Returned")

SECONDS = 600


class WeightTransfer:
    """Connects when the first weights are sent, because servers may start after the trainer."""

    def __init__(self, roots: Sequence[str], device: torch.device) -> None:
        self._roots, self._device = roots, device
        self._source: Any = None
        self._engine: Any = None

    def send(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Generation pauses meanwhile, and the caches of the old weights are emptied."""
        self._everywhere("pause?mode=wait", method="POST")
        if self._engine is None:
            self._connect()
        self._source.weights = weights
        self._engine.send_weights()
        self._everywhere("resume", method="POST")

    def _connect(self) -> None:
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        self._source = new_source()
        answers = self._everywhere("get_world_size", method="GET")
        workers = [int(json.loads(answer)["world_size"]) for answer in answers]
        info = self._rendezvous(address_towards(self._roots), free_port(), 1 + sum(workers))
        self._engine = WeightTransferTrainerFactory.trainer_init(
            info, client=Servers(self._roots, workers), source=self._source
        )

    def _rendezvous(self, host: str, port: int, size: int) -> Any:
        if self._device.type == "cuda":
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

            return NCCLTrainerInitInfo(master_address=host, master_port=port, world_size=size, rank=0)
        from xreasoner.rollout.vllm_engine.gloo import GlooTrainerInitInfo, register

        register()
        return GlooTrainerInitInfo(master_address=host, master_port=port, world_size=size, rank=0)

    def _everywhere(self, route: str, method: str) -> list[bytes]:
        return at_once(lambda root: ask(f"{root}/{route}", method), self._roots)


class Servers:
    """vLLM's client, for several servers: each call goes to all of them at once, since all join or receive
    together."""

    def __init__(self, roots: Sequence[str], workers: Sequence[int]) -> None:
        from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient

        self._clients = [HTTPVLLMWeightSyncClient(root, timeout=SECONDS) for root in roots]
        # The trainer is rank 0.
        self._first_ranks = list(accumulate(workers, initial=1))[:-1]

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        joined = zip(self._clients, self._first_ranks, strict=True)
        at_once(
            lambda one: one[0].init_weight_transfer_engine(init_info | {"rank_offset": one[1]}), list(joined)
        )

    def start_weight_update(self) -> None:
        at_once(lambda client: client.start_weight_update(), self._clients)

    def update_weights(self, update_info: Any) -> None:
        at_once(lambda client: client.update_weights(update_info), self._clients)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        at_once(lambda client: client.finish_weight_update(weight_version), self._clients)

    def shutdown_weight_transfer_engine(self) -> None:
        at_once(lambda client: client.shutdown_weight_transfer_engine(), self._clients)


def at_once(call: Callable[[One], Returned], each: Sequence[One]) -> list[Returned]:
    """In threads; the first error is raised."""
    with ThreadPoolExecutor(len(each)) as pool:
        return list(pool.map(call, each))


def ask(url: str, method: str) -> bytes:
    try:
        with urlopen(Request(url, method=method), timeout=SECONDS) as answer:
            return bytes(answer.read())
    except OSError as error:
        raise ValueError(f"{url}: {error}; start the server as docs/vllm.md says") from None


def new_source() -> Any:
    """The source vLLM reads weights from. The weights change between calls; names and shapes do not.

    Names and shapes are read before sharded weights are gathered, which all processes must do together.
    """
    from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

    class Source(WeightSource):
        weights: Iterable[tuple[str, Tensor]] = ()

        def metadata(self) -> list[Any]:
            return [ParamMeta(name, weight.dtype, tuple(weight.shape)) for name, weight in self.weights]

        def __iter__(self) -> Iterator[tuple[str, Tensor]]:
            return ((name, full_weight(weight)) for name, weight in self.weights)

    return Source()


def address_towards(roots: Sequence[str]) -> str:
    """The address at which those machines can reach this one. No packet is sent."""
    found = []
    for root in roots:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((urlsplit(root).hostname, 9))
            found.append(str(probe.getsockname()[0]))
    # A server on this machine reaches it under any of its addresses.
    return next((address for address in found if not address.startswith("127.")), found[0])
