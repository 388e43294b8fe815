"""The entries of a recipe's `evaluation.benchmarks`."""

from typing import Annotated, Literal

from pydantic import Field

from xreasoner.recipe.settings import Count, FilePath, FunctionName, Positive, Settings
from xreasoner.recipe.training_data import DrawnCount, JsonlTable, MiniworldTask, StepRange, TableData
from xreasoner.records import Modality

BenchmarkRole = Literal["skill", "perception"]
PromptName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=100)]
"""instructed: the recipe's instruction is the system prompt. plainly: no system prompt is given, so a chat
template with a default one uses it. Any other is a name of `evaluation.prompts`."""
PROMPTS = ("instructed", "plainly")
Asked = PromptName | Annotated[tuple[PromptName, ...], Field(min_length=1)]
"""Asked with several prompts, a benchmark's results tell a gain of form from a gain of reasoning."""
BenchmarkName = Annotated[str, Field(pattern=r"^\w[\w.+-]*$", max_length=100)]


class MiniworldBenchmark(StepRange):
    """One benchmark per family and view. All views of a family show the same items."""

    source: Literal["miniworld"]
    split: Literal["dev", "test"] = "test"
    """dev: items to choose recipes by, so that those of test have chosen nothing."""
    views: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("text", "image")
    name: BenchmarkName | None = None
    """Prefix of the names of these benchmarks."""
    role: BenchmarkRole = "skill"
    """perception: checks that training does not harm vision."""
    asked: Asked = "instructed"
    task: MiniworldTask = "solve"


class HasImages(Settings):
    image_folders: tuple[FilePath, ...] = ()
    """More folders in which images may be, besides that of the table. Images elsewhere are refused."""


class JsonlBenchmark(JsonlTable, HasImages):
    """Your own benchmark."""

    name: BenchmarkName
    role: BenchmarkRole = "skill"
    asked: Asked = "instructed"


class TableBenchmark(TableData, HasImages):
    """Your own benchmark in parquet, CSV, JSON, Arrow or from the hub; an image is a file name or bytes."""

    name: BenchmarkName
    split: str = "test"
    """The split to read, where there are several."""
    role: BenchmarkRole = "skill"
    asked: Asked = "instructed"


class PublishedBenchmark(HasImages):
    """A published benchmark; `xreasoner benchmarks` lists them."""

    source: Literal["benchmark"]
    name: str
    path: FilePath | None = None
    """A local file or folder; by default the hub."""
    count: Count | None = None
    """Only this many items, evenly spaced."""
    any_size: bool = False
    """Accept a copy whose size differs from the published one."""
    role: BenchmarkRole = "skill"
    asked: Asked = "instructed"


class PythonBenchmark(Settings):
    """Your own benchmark from Python."""

    source: Literal["python"]
    name: BenchmarkName
    function: FunctionName
    """Returns the problems: `my_bench.py:make` or `package.module:make`."""
    scorer: FunctionName | None = None
    """Grades the replies in place of our grader. It has the form of a reward function; 1 is right."""
    seconds: Positive = 60.0
    """The time limit of a call of the scorer."""
    role: BenchmarkRole = "skill"
    asked: Asked = "instructed"


class ProbeBenchmark(Settings):
    """Generated images to read, count and inspect: does post-training harm vision?"""

    source: Literal["probe"]
    name: BenchmarkName = "probe"
    count: DrawnCount = 300
    role: BenchmarkRole = "perception"
    asked: Asked = "plainly"


BenchmarkSource = Annotated[
    MiniworldBenchmark
    | JsonlBenchmark
    | TableBenchmark
    | PublishedBenchmark
    | PythonBenchmark
    | ProbeBenchmark,
    Field(discriminator="source"),
]


def prompt_names(asked: Asked) -> tuple[str, ...]:
    return (asked,) if isinstance(asked, str) else tuple(dict.fromkeys(asked))
