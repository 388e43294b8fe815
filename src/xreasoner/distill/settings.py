"""The settings of a distillation: the teacher, the data and the selection, as strict as a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.file import read_raw, validate
from xreasoner.recipe.schema import Dtype, StageName
from xreasoner.recipe.settings import (
    Count,
    ExitBy,
    GreedyOrTemperature,
    Instruction,
    NonNegative,
    ServerSettings,
    Settings,
)
from xreasoner.recipe.training_data import TrainingData


class ServerTeacher(ServerSettings):
    """A server with OpenAI's chat API."""

    kind: Literal["server"]
    exit_by: ExitBy = "limit"
    """By default no forced exit: a thought that was cut short is not worth learning from."""
    dollars: tuple[NonNegative, NonNegative] | None = None
    """Prices of a million prompt tokens and answer tokens; progress then shows the cost."""


class LocalTeacher(Settings):
    """A checkpoint on this machine."""

    kind: Literal["torch", "vllm"]
    """The engine that runs it."""
    model: str
    rows: Count = 256
    """Answers that are generated concurrently."""
    dtype: Dtype = "auto"


TeacherSettings = Annotated[ServerTeacher | LocalTeacher, Field(discriminator="kind")]


class Distillation(Settings):
    """Generate thoughts for questions with a teacher and keep those that end with the known answer."""

    name: StageName
    out: Path | None = None
    """The output folder, with the thoughts in `thoughts.jsonl`; by default runs/NAME."""
    teacher: TeacherSettings
    data: TrainingData
    instruction: Instruction | None = None
    """The system prompt."""
    samples: Count = 4
    """Samples per question."""
    temperature: GreedyOrTemperature = 0.6
    think_budget: Count = 16384
    answer_budget: Count = 2048
    keep: Literal["shortest", "all"] = "shortest"
    """Which of the correct thoughts of a question to keep."""
    hint: bool = False
    """Ask unsolved questions again with the answer as a hint; thoughts that mention it are not kept."""
    seed: int = 0

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.name

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: more than one at temperature 0 are all equal; set a temperature")
        return self


def read_distillation(path: Path, overrides: Sequence[str] = ()) -> Distillation:
    raw, changed = read_raw(path, overrides, "distillation")
    return validate(Distillation, raw, str(path), changed)
