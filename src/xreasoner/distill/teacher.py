"""The engine behind a teacher."""

from collections.abc import Iterator, Sequence

from xreasoner.distill.settings import ServerTeacher, TorchTeacher
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.api_engine import ApiEngine, Server
from xreasoner.rollout.engine import Engine


def teacher_engine(teacher: ServerTeacher | TorchTeacher) -> Engine:
    if isinstance(teacher, TorchTeacher):
        return _LoadedWhenAsked(teacher)
    return ApiEngine(
        Server(
            teacher.url,
            teacher.model,
            teacher.key_from,
            teacher.concurrency,
            teacher.requests_per_minute,
            teacher.retries,
            teacher.seconds,
        )
    )


class _LoadedWhenAsked:
    """A finished distillation opens no model."""

    def __init__(self, teacher: TorchTeacher) -> None:
        self._teacher = teacher
        self._engine: Engine | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        if self._engine is None:
            self._engine = _torch_engine(self._teacher)
        return self._engine.generate(prompts, sampling)


def _torch_engine(teacher: TorchTeacher) -> Engine:
    from xreasoner.models.load import load
    from xreasoner.models.precision import compute_dtype
    from xreasoner.models.resolve import resolve_model
    from xreasoner.parallel import join_world
    from xreasoner.rollout.torch_engine import TorchEngine

    device = join_world().device
    dtype = compute_dtype(teacher.dtype, device)
    return TorchEngine(load(resolve_model(teacher.model), device, dtype), max_rows=teacher.rows)
