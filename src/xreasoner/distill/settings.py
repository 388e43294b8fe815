"""What a distillation asks, whom, and what it keeps: a YAML file as strict as a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.file import read_raw, validate
from xreasoner.recipe.schema import Dtype, StageName
from xreasoner.recipe.settings import (
    Count,
    ExitBy,
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
    """Price of a million tokens, of prompts and of answers; then progress shows what was spent."""


class LocalTeacher(Settings):
    """A checkpoint on this machine."""

    kind: Literal["torch", "vllm"]
    """The engine it answers on."""
    model: str
    rows: Count = 256
    """How many answers are generated at once."""
    dtype: Dtype = "auto"


Teacher = Annotated[ServerTeacher | LocalTeacher, Field(discriminator="kind")]


class Distillation(Settings):
    """Thoughts of a teacher about the questions of some data, kept where they end with the right answer."""

    name: StageName
    out: Path | None = None
    """By default runs/NAME. The thoughts are in `thoughts.jsonl` there."""
    teacher: Teacher
    data: TrainingData
    instruction: str | None = None
    """The system prompt."""
    samples: Count = 4
    """Thoughts asked for each question."""
    temperature: NonNegative = 0.6
    think_budget: Count = 16384
    answer_budget: Count = 2048
    keep: Literal["shortest", "all"] = "shortest"
    """Of the right thoughts of a question."""
    hint: bool = False
    """Ask unsolved questions once more with their answer told; thoughts that mention it are not kept."""
    seed: int = 0

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.name

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: several answers at temperature 0 are the same one; set a temperature")
        return self


def read_distillation(path: Path, overrides: Sequence[str] = ()) -> Distillation:
    raw, changed = read_raw(path, overrides, "distillation")
    return validate(Distillation, raw, str(path), changed)
