"""Sends new weights from the trainer to a running vLLM server, over vLLM's weight-transfer interface."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from xreasoner.parallel import free_port, full_weight

SECONDS = 600


class WeightTransfer:
    """Connects when the first weights are sent, because the server may start after the trainer."""

    def __init__(self, root: str, device: torch.device) -> None:
        self._root, self._device = root, device
        self._source: Any = None
        self._engine: Any = None

    def send(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Generation pauses meanwhile, and the caches of the old weights are emptied."""
        self._post("pause?mode=wait")
        if self._engine is None:
            self._connect()
        self._source.weights = weights
        self._engine.send_weights()
        self._post("resume")

    def _connect(self) -> None:
        from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        self._source = new_source()
        server = urlsplit(self._root).hostname or "127.0.0.1"
        info = self._rendezvous(address_towards(server), free_port())
        client = HTTPVLLMWeightSyncClient(self._root, timeout=SECONDS)
        self._engine = WeightTransferTrainerFactory.trainer_init(info, client=client, source=self._source)

    def _rendezvous(self, host: str, port: int) -> Any:
        """One trainer and one worker: tensor-parallel servers were never tested."""
        if self._device.type == "cuda":
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

            return NCCLTrainerInitInfo(master_address=host, master_port=port, world_size=2, rank=0)
        from xreasoner.rollout.vllm_engine.gloo import GlooTrainerInitInfo, register

        register()
        return GlooTrainerInitInfo(master_address=host, master_port=port, world_size=2, rank=0)

    def _post(self, route: str) -> None:
        try:
            urlopen(Request(f"{self._root}/{route}", method="POST"), timeout=SECONDS).close()
        except OSError as error:
            raise ValueError(
                f"{self._root}/{route}: {error}; start the server as docs/vllm.md says"
            ) from None


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


def address_towards(server: str) -> str:
    """The address at which that machine can reach this one. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server, 9))
        return str(probe.getsockname()[0])
