"""Training states: each rank saves its shards while training continues; any number of ranks can resume.

A state holds the trained weights, the moments of AdamW and the metrics so far. Frozen weights are in the
checkpoint that training started from.
"""

import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import AdamW

from xreasoner.disks.copy_files import copy_to_all, copy_to_first
from xreasoner.launch.interrupts import Interrupted, at_once, held_back, pending
from xreasoner.parallel import (
    World,
    gather_shares,
    keep_only_shards,
    saving_group,
    sum_over_ranks,
    wait_for_all,
)
from xreasoner.storage.disk import error_number, in_units, require_room, room
from xreasoner.storage.files import write_atomically
from xreasoner.storage.folders import discard
from xreasoner.storage.journal import Say
from xreasoner.storage.run_folder import METRICS
from xreasoner.storage.state_folders import (
    complete_state,
    drop_incomplete_states,
    drop_states,
    read_note,
    state_folder,
    whole_state,
)

UNMEASURED = {"unmeasured": True}
"""Added to a state that was saved before the held-out data were measured at its step."""

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
        self._saved = 0
        """The step of the newest state. Another machine than the first has none on disk."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """If training ends with an error, the state that is being written is still completed."""
        self._thread.shutdown(wait=True)

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Load the newest state that is not damaged; its step and the extras. (0, {}) where there is none."""
        self._drop_copies()
        chosen = whole_state(self.folder, self.say) if self.world.is_first else None
        name = gather_shares([chosen and chosen.name], self.world)[0]
        if name is None:
            return 0, {}
        state = self.folder / name
        copy_to_all(state, self.world)
        with held_back():  # torch would take a signal for a failure of its own
            load(
                dict(state_tensors(self.model, self.optimizer)),
                storage_reader=FileSystemReader(state),
                process_group=saving_group(self.world),
            )
        if self.world.is_first:
            # Lines in the folder of the stage may be damaged, or of steps after this state.
            write_atomically(self.metrics, (state / METRICS).read_bytes())
        note = read_note(state)
        wait_for_all(self.world)
        self._drop_copies()
        self._saved = note["step"]
        return note["step"], note["extra"]

    def _drop_copies(self) -> None:
        """States stay on the first rank's disk only."""
        if self.world.keeps_a_copy:
            drop_states(self.folder)

    def save(self, step: int, extra: Mapping[str, Any]) -> None:
        """In the background: copy the state to host memory, and write it while training continues.

        A kill meanwhile leaves the state before."""
        self.finish()
        tensors = state_tensors(self.model, self.optimizer)
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        require_room(self.folder, size, f"the training state of step {step}")
        metrics = self.metrics.read_bytes() if self.world.is_first else b""
        note = {"step": step, "extra": extra}
        group = saving_group(self.world)  # all ranks make it now, and not in their threads
        write = partial(write_state, state_folder(self.folder, step), note, metrics, self.world, group)
        self._saved = step
        if self.in_background:
            # torch's `async_save` does the same, but copies each tensor three times.
            copies = {name: value.to("cpu", copy=True) for name, value in tensors.items()}
            self._saving = self._thread.submit(write, copies)
        else:
            with self._failing_in_one_line():
                write(tensors)

    @contextmanager
    def interruptible(self, step: int, extra: Mapping[str, Any]) -> Iterator[None]:
        """A part that changes no weights: a signal ends it at once, and the state before it is saved.

        Ranks must save together, so with several of them the signal waits for `end_if_interrupted`."""
        if self.world.size > 1:
            yield
            return
        try:
            with at_once():
                yield
        except Interrupted as stop:
            self._end(step, extra, stop)

    def end_if_interrupted(self, step: int, extra: Mapping[str, Any]) -> None:
        """After each step: if one rank got a signal, all save and end."""
        got = torch.tensor(float(pending() is not None), device=self.world.device)
        if sum_over_ranks(got, self.world).item():
            self._end(step, extra, Interrupted(pending() or signal.SIGTERM))

    def _end(self, step: int, extra: Mapping[str, Any], stop: Interrupted) -> NoReturn:
        self.finish()
        if step > self._saved:
            self.save(step, extra)
            self.finish()
        stop.saved = f"the training state of step {step} is saved"
        raise stop

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
        except (CheckpointException, OSError) as failure:
            rank, error = first_failure(failure, self.world)
            if self.world.is_first:
                drop_incomplete_states(self.folder, lambda line: None)
            number = error_number(error, self.folder) if isinstance(error, Exception) else None
            why = os.strerror(number) if number else str(error).partition("\n")[0]
            raise ValueError(
                f"{self.folder}: rank {rank} could not save the training state: {why}; "
                f"the state before is kept, and {in_units(room(self.folder))} are free. "
                "Make room or repair the disk, then run the same command again"
            ) from None


def first_failure(failure: CheckpointException | OSError, world: World) -> tuple[int, BaseException]:
    """The rank that failed, and its error."""
    if isinstance(failure, OSError):
        return world.rank, failure
    rank, (error, _) = next(iter(failure.failures.items()))
    return rank, error


def write_state(
    state: Path,
    note: Mapping[str, Any],
    metrics: bytes,
    world: World,
    group: dist.ProcessGroup | None,
    tensors: Mapping[str, Tensor],
) -> None:
    """Marked as complete after all ranks have written their files, and the first one has them."""
    save(dict(tensors), storage_writer=FileSystemWriter(state), process_group=group)
    copy_to_first(state, world, group=group)
    if world.is_first:
        write_atomically(state / METRICS, metrics)
        complete_state(state, note)
    elif world.keeps_a_copy:
        discard(state)
    wait_for_all(world, group)


def state_tensors(model: nn.Module, optimizer: AdamW) -> dict[str, Tensor]:
    """By name, so that the number of ranks and the order of parameter groups do not matter."""
    keep_only_shards(model)
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[f"weight.{name}"] = parameter.detach()
            found |= {f"{key}.{name}": value for key, value in optimizer.state[parameter].items()}
    return found
