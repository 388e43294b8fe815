"""Training states: each rank saves its shards while training continues; any number of ranks can resume.

A state holds the trained weights, the moments of AdamW and the metrics so far. Frozen weights are in the
checkpoint that training started from.
"""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import WriteResult
from torch.optim import AdamW

from xreasoner.parallel import World, gather_shares, keep_only_shards, saving_group
from xreasoner.storage.files import write_atomically
from xreasoner.storage.journal import Say
from xreasoner.storage.state_folders import (
    complete_state,
    read_note,
    state_folder,
    whole_state,
)

METRICS = "metrics.jsonl"
"""A state has the lines up to its step: those in the folder of the stage may be damaged, or ahead of it."""

# It means that one process saves alone, which we ask for.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")


class TrainingStates:
    """The saved states of one stage. All ranks call its methods together."""

    def __init__(
        self,
        out: Path,
        model: nn.Module,
        optimizer: AdamW,
        world: World,
        in_background: bool,
        say: Say,
    ) -> None:
        self.folder, self.metrics, self.say = out / "state", out / METRICS, say
        self.model, self.optimizer, self.world = model, optimizer, world
        self.in_background = in_background
        self._thread = ThreadPoolExecutor(1, "saving")
        self._saving: Future[Any] | None = None

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Load the newest state that is not damaged; its step and the extras. (0, {}) where there is none."""
        chosen = whole_state(self.folder, self.say) if self.world.is_first else None
        state = gather_shares([chosen], self.world)[0]
        if state is None:
            return 0, {}
        load(
            dict(state_tensors(self.model, self.optimizer)),
            storage_reader=FileSystemReader(state),
            process_group=saving_group(self.world),
        )
        if self.world.is_first:
            write_atomically(self.metrics, (state / METRICS).read_bytes())
        note = read_note(state)
        return note["step"], note["extra"]

    def save(self, step: int, extra: Mapping[str, Any]) -> None:
        """In the background: copy the state to host memory, and write it while training continues.

        A kill meanwhile leaves the state before."""
        self.finish()
        tensors = state_tensors(self.model, self.optimizer)
        metrics = self.metrics.read_bytes() if self.world.is_first else b""
        writer = StateWriter(state_folder(self.folder, step), {"step": step, "extra": extra}, metrics)
        group = saving_group(self.world)
        if self.in_background:
            # torch's `async_save` does the same, but copies each tensor three times.
            copies = {name: value.to("cpu", copy=True) for name, value in tensors.items()}
            self._saving = self._thread.submit(save, copies, storage_writer=writer, process_group=group)
        else:
            with self._failing_in_one_line():
                save(tensors, storage_writer=writer, process_group=group)

    def finish(self) -> None:
        """Wait for the state that is being written."""
        saving, self._saving = self._saving, None
        if saving:
            with self._failing_in_one_line():
                saving.result()

    @contextmanager
    def _failing_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except CheckpointException as failure:
            rank, (error, _) = next(iter(failure.failures.items()))
            raise ValueError(
                f"{self.folder}: rank {rank} could not save the training state: {error}; "
                "the state before is kept. Make room or mend the disk, and start the run again"
            ) from None


class StateWriter(FileSystemWriter):
    """Marks the state as complete after all ranks have written their files. Only the first rank gets here."""

    def __init__(self, state: Path, note: Mapping[str, Any], metrics: bytes) -> None:
        super().__init__(state)
        self.state, self.note, self.metrics = state, note, metrics

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        write_atomically(self.state / METRICS, self.metrics)
        complete_state(self.state, self.note)


def state_tensors(model: nn.Module, optimizer: AdamW) -> dict[str, Tensor]:
    """By name, so that the number of ranks and the order of parameter groups do not matter."""
    keep_only_shards(model)
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[f"weight.{name}"] = parameter.detach()
            found |= {f"{key}.{name}": value for key, value in optimizer.state[parameter].items()}
    return found
