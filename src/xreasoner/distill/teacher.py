"""From the settings of a teacher to its engine."""

from collections.abc import Iterator, Sequence

from xreasoner.distill.settings import LocalTeacher, ServerTeacher
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.server_engine.engine import ServerEngine


def teacher_engine(teacher: ServerTeacher | LocalTeacher) -> Engine:
    if isinstance(teacher, LocalTeacher):
        return _LazyEngine(teacher)
    return ServerEngine(teacher)


class _LazyEngine:
    """Loads the model with the first prompt: a finished distillation loads none."""

    def __init__(self, teacher: LocalTeacher) -> None:
        self._teacher = teacher
        self._engine: Engine | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        if self._engine is None:
            self._engine = _engine_of(self._teacher)
        return self._engine.generate(prompts, sampling)


def _engine_of(teacher: LocalTeacher) -> Engine:
    from xreasoner.models.resolve import resolve_model
    from xreasoner.parallel import join_world
    from xreasoner.rollout.choose import open_checkpoint

    checkpoint = resolve_model(teacher.model)
    return open_checkpoint(checkpoint, teacher.kind, teacher.dtype, teacher.rows, join_world().device)
