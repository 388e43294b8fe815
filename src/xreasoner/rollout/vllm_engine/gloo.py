"""A gloo backend for vLLM's weight transfer, because NCCL needs GPUs: trainer and server on CPUs.

It is a vLLM plugin: once installed, vLLM accepts `--weight-transfer-config '{"backend": "gloo"}'`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributed import BroadcastOptions
from vllm.config.weight_transfer import WeightTransferConfig
from vllm.distributed.utils import stateless_init_torch_distributed_process_group
from vllm.distributed.weight_transfer.base import (
    TrainerInitInfo,
    WeightTransferEngine,
    WeightTransferInitInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.nccl_engine import (
    NCCLTrainerWeightTransferEngine,
    NCCLWeightTransferUpdateInfo,
)

from xreasoner.rollout.vllm_engine.weights import repack_tied_head

BACKEND = "gloo"


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    master_address: str
    master_port: int
    rank_offset: int
    world_size: int


@dataclass
class GlooTrainerInitInfo(TrainerInitInfo):
    backend: ClassVar[str] = BACKEND

    master_address: str
    master_port: int
    world_size: int


class GlooReceiver(WeightTransferEngine[GlooInitInfo, NCCLWeightTransferUpdateInfo]):
    """The server's side."""

    init_info_cls = GlooInitInfo
    update_info_cls = NCCLWeightTransferUpdateInfo

    def __init__(self, config: WeightTransferConfig, vllm_config: Any, device: Any, model: Any) -> None:
        super().__init__(config, vllm_config, device, model)
        self._group: Any = None

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        parallel = self.parallel_config
        worker = parallel.data_parallel_index * parallel.world_size + parallel.rank
        self._group = join(init_info, rank=init_info.rank_offset + worker)

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        # The base class's method waits for an accelerator.
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: NCCLWeightTransferUpdateInfo) -> None:
        described = zip(update_info.names, update_info.dtype_names, update_info.shapes, strict=True)
        for name, dtype, shape in described:
            weight = torch.empty(shape, dtype=getattr(torch, dtype))
            broadcast(self._group, weight)
            self.model.load_weights([(name, weight)])

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        repack_tied_head(self.model)

    def shutdown(self) -> None:
        self._group = None


class GlooSender(NCCLTrainerWeightTransferEngine):
    """The trainer's side: NCCL's protocol over another transport."""

    init_info_cls = GlooTrainerInitInfo

    @classmethod
    def trainer_init(cls, init_info: GlooTrainerInitInfo, *, client: Any, source: Any = None) -> Self:
        sender = cls(client=client, source=source, packed=False)
        rendezvous = GlooInitInfo(init_info.master_address, init_info.master_port, 1, init_info.world_size)
        # Both sides block until the other joins, so the request to the server runs in a thread.
        with ThreadPoolExecutor(1) as pool:
            joined = pool.submit(client.init_weight_transfer_engine, asdict(rendezvous))
            sender.model_update_group = join(init_info, rank=0)
            joined.result()
        return sender

    def _broadcast(self, source: Any, meta: Any) -> None:
        for _, weight in self._checked_iter(source, meta):
            broadcast(self.model_update_group, weight.detach().contiguous())

    def shutdown(self) -> None:
        self.model_update_group = None


def join(rendezvous: GlooInitInfo | GlooTrainerInitInfo, rank: int) -> Any:
    return stateless_init_torch_distributed_process_group(
        rendezvous.master_address, rendezvous.master_port, rank, rendezvous.world_size, backend=BACKEND
    )


def broadcast(group: Any, weight: Tensor) -> None:
    """From the trainer, which is rank 0."""
    options = BroadcastOptions()
    options.rootRank, options.rootTensor = 0, 0
    group.broadcast([weight], options).wait()


def register() -> None:
    """Called by vLLM when it loads its plugins, possibly more than once in a process."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, GlooReceiver)
        WeightTransferTrainerFactory.register_engine(BACKEND, GlooSender)
