"""Training states: each rank saves its shards while training continues; any number of ranks can resume.

A state holds the trained weights and the moments of AdamW. Frozen weights are in the checkpoint that training
started from.
"""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save
from torch.distributed.checkpoint.storage import WriteResult
from torch.optim import AdamW

from xreasoner.parallel import World, keep_only_shards, saving_group, wait_for_all
from xreasoner.storage.state_folders import (
    complete_state,
    complete_states,
    drop_incomplete_states,
    read_note,
    state_folder,
)

# It means that one process saves alone, which we ask for.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")


class TrainingStates:
    """The saved states of one stage. All ranks call its methods together."""

    def __init__(
        self, folder: Path, model: nn.Module, optimizer: AdamW, world: World, in_background: bool
    ) -> None:
        self.folder, self.model, self.optimizer, self.world = folder, model, optimizer, world
        self.in_background = in_background
        self._saving: Future[Any] | None = None

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Load the newest state; its step and the extras. (0, {}) where there is none."""
        if self.world.is_first:
            drop_incomplete_states(self.folder)
        wait_for_all(self.world)
        found = complete_states(self.folder)
        if not found:
            return 0, {}
        load(
            state_tensors(self.model, self.optimizer),
            storage_reader=FileSystemReader(found[-1]),
            process_group=saving_group(self.world),
        )
        note = read_note(found[-1])
        return note["step"], note["extra"]

    def save(self, step: int, extra: Mapping[str, Any]) -> None:
        """In the background: copy the state to host memory, and write it while training continues.

        A kill meanwhile leaves the state before."""
        self.finish()
        tensors = state_tensors(self.model, self.optimizer)
        writer = StateWriter(state_folder(self.folder, step), {"step": step, "extra": extra})
        group = saving_group(self.world)
        if self.in_background:
            saving = async_save(tensors, storage_writer=writer, process_group=group)
            self._saving = cast(Future[Any], saving)
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

    def __init__(self, state: Path, note: Mapping[str, Any]) -> None:
        super().__init__(state)
        self.state, self.note = state, note

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        complete_state(self.state, self.note)


def state_tensors(model: nn.Module, optimizer: AdamW) -> dict[str, Any]:
    """By name, so that the number of ranks and the order of parameter groups do not matter."""
    keep_only_shards(model)
    found: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[f"weight.{name}"] = parameter.detach()
            found |= {f"{key}.{name}": value for key, value in optimizer.state[parameter].items()}
    return found
