"""Decoding steps that are recorded once and repeated: on a GPU, one launch a step in place of a thousand.

A step is recorded for a number of rows and the width of the cache. Rows beyond those in use take part and
change nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from xreasoner.rollout.torch_engine.decode_attention import RowBlock
from xreasoner.rollout.torch_engine.decode_step import DecodeStep

MOST_GRAPHS = 32
_LEAST_ROWS = 8
Work = Callable[[], None]


def rounded_rows(rows: int, most: int) -> int:
    """Up by at most a quarter, or to 8: each row costs its sampling."""
    quarter = max(_LEAST_ROWS, 1 << max(0, (rows - 1).bit_length() - 3))
    return min(-(-rows // quarter) * quarter, most)


class Recorder(Protocol):
    def warm_up(self, work: Work) -> None:
        """Do the work."""
        ...

    def record(self, work: Work) -> Work:
        """A function that does the work again and again. It is not done by this."""
        ...


class CudaRecorder:
    """Its graphs share the memory of intermediate results, because only one runs at a time."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> None:
        # On the stream of the recording: libraries get their workspaces there now, and not during it.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # Errors are those of this thread: others may use the GPU meanwhile.
        kwargs: Any = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(graph, **kwargs):
            work()
        return graph.replay


class DecodeGraphs:
    """The steps of one scheduler. The first step of a number of rows is not recorded: most do not recur."""

    def __init__(self, step: DecodeStep, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._graphs: dict[int, Work] = {}
        self._warm: set[int] = set()
        self._columns = 0
        self._can_record: bool | None = None

    def __call__(self, rows: int) -> None:
        rows = rounded_rows(rows, len(self._step.tensors.index))
        if self._step.cache.columns != self._columns:  # it grew: the graphs know its old memory
            self._graphs.clear()
            self._columns = self._step.cache.columns
        if rows in self._warm and self._can_record:
            self._graph(rows)()
        else:
            self._warm_up(rows)

    def _graph(self, rows: int) -> Work:
        # Put back as the last one, so that the first one is the one not used for longest.
        graph = self._graphs.pop(rows, None)
        if graph is None:
            if len(self._graphs) == MOST_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            graph = self._recorder.record(self._work(rows))
        self._graphs[rows] = graph
        return graph

    def _warm_up(self, rows: int) -> None:
        self._warm.add(rows)
        if self._can_record is not None:
            self._recorder.warm_up(self._work(rows))
            return
        with HostWaits() as waits:
            self._recorder.warm_up(self._work(rows))
        self._can_record = not waits.found

    def _work(self, rows: int) -> Work:
        blocks = [RowBlock(slice(0, rows), self._step.cache.columns)]
        temperature_A = self._step.tensors.temperature[:rows]
        return lambda: self._step(rows, blocks, temperature_A)


class HostWaits(TorchDispatchMode):
    """Notes the operations that the host has to wait for. A step with one cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "aten":
            with self:  # in inference mode an operation arrives here before it is taken apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if _waits(func, args, result):
            self.found.add(str(func))
        return result


def _waits(func: Any, args: tuple[Any, ...], result: Any) -> bool:
    name = func.overloadpacket.__name__
    if name.startswith("index") and isinstance(args[1], (list, tuple)):  # indices by a mask are counted first
        return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])
    if name in ("_to_copy", "copy_"):
        return bool(args[name == "copy_"].device != result.device)
    return not {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}.isdisjoint(func.tags)
