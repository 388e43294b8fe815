"""The training data of a recipe: sources of problems, and filters."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.settings import Budget, Count, FilePath, Fraction, PathText, Settings
from xreasoner.records import Kind

MiniworldTask = Literal["solve", "read"]
"""solve: answer the question. read: write down what is shown, without a thought."""


DrawnCount = Annotated[int, Field(gt=0, le=1_000_000)]
"""Of items that are generated before a run is planned."""
StepCount = Annotated[int, Field(gt=0, le=100)]


class StepRange(Settings):
    """The keys of everything that is drawn from the mini-world."""

    families: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: tuple[StepCount, StepCount]
    """Fewest and most reasoning steps of a problem, both included."""
    count: DrawnCount
    """Problems per family."""

    @model_validator(mode="after")
    def _easiest_first(self) -> Self:
        if self.steps[0] > self.steps[1]:
            raise ValueError(f"steps: {list(self.steps)} the first number must not be the larger one")
        return self


class MiniworldData(StepRange):
    """Mini-world problems as text, from the training split."""

    source: Literal["miniworld"]
    task: MiniworldTask = "solve"
    thoughts: bool = True
    """false: no instruction and no thought, so that SFT rehearses what the base model already does."""
    choices: Fraction = 0.2
    """The share of problems with four options; benchmarks have 0.2."""
    brief: Fraction = 0.0
    """The share of thoughts that state the result without the work, as a stronger teacher can."""

    @model_validator(mode="after")
    def _brief_thoughts_are_thoughts(self) -> Self:
        if self.brief and (self.task == "read" or not self.thoughts):
            why = "task: read" if self.task == "read" else "thoughts: false"
            raise ValueError(f"brief: with {why} there are no thoughts; remove one of the two")
        return self


class Columns(Settings):
    """The column names of a table. Only the question and the answer are required."""

    question: str = "question"
    answer: str = "answer"
    choices: str = "choices"
    """A list of options, or a mapping from letters to options."""
    reasoning: str = "reasoning"
    image: str = "image"
    """An image file or a list of them, relative to the table."""
    id: str = "id"
    """Of `source: jsonl`, where rows may have ids of their own; other rows are numbered."""


class JsonlTable(Settings):
    """Your own file with one JSON object per line; a bad line stops the run."""

    source: Literal["jsonl"]
    path: FilePath
    columns: Columns = Columns()
    kind: Kind | None = None
    """How answers are graded; by default `choice` where a row has choices, else `math`."""
    domain: str = "general"
    limit: Count | None = None
    """Read only this many rows, the first ones."""


class JsonlData(JsonlTable):
    """Your own problems to train on."""


# --- corpora: streamed, and tolerant of bad rows --------------------------------------------------------


class Corpus(Settings):
    """Rows in parquet, JSON, JSONL, CSV or Arrow: a file, a folder of files, or a dataset on the hub."""

    path: PathText
    split: str = "train"
    """The split to read, where there are several."""
    max_bad_rows: Fraction = 0.05
    """Bad rows are skipped, counted and listed; a larger fraction stops the run."""
    limit: Count | None = None
    """Read only this many rows, the first ones."""
    every: Count = 1
    """Keep one in this many of these rows: a sample of the whole corpus."""


class OpenThoughtsData(Corpus):
    """Chains of thought in the format of OpenThoughts-114k."""

    source: Literal["openthoughts"]
    path: PathText = "open-thoughts/OpenThoughts-114k"
    config: Literal["default", "metadata"] = "default"
    """metadata: the raw rows, with a domain and a reference solution to verify against."""
    domains: tuple[str, ...] | None = None
    """Keep only these domains (math, code, biology, ...); needs `config: metadata`."""
    answers: Literal["solution", "final"] = "solution"
    """The text between the answer tags: the whole solution, or only its last boxed answer."""

    @model_validator(mode="after")
    def _domains_are_known(self) -> Self:
        if self.domains is not None and self.config == "default":
            raise ValueError("domains: the default config has no domains; set config: metadata")
        return self


class OrzMathData(Corpus):
    """Questions and answers in the format of Orz-Math-57k."""

    source: Literal["orz-math"]
    path: PathText = "Open-Reasoner-Zero/orz_math_57k_collection"


class MedqaData(Corpus):
    """USMLE questions with 4 or 5 options in the format of MedQA."""

    source: Literal["medqa"]
    path: PathText = "GBaker/MedQA-USMLE-4-options"


class Gsm8kData(Corpus):
    """Grade-school mathematics in the format of GSM8K."""

    source: Literal["gsm8k"]
    path: PathText = "openai/gsm8k"
    config: Literal["main", "socratic"] = "main"


class TableData(Corpus):
    """Your own table; unlike `jsonl`, bad rows are skipped and counted."""

    source: Literal["table"]
    config: str | None = None
    """The configuration of the dataset, where there are several."""
    columns: Columns = Columns()
    kind: Kind | None = None
    """How answers are graded; by default `choice` where a row has choices, else `math`."""
    domain: str = "general"


CorpusData = OpenThoughtsData | OrzMathData | MedqaData | Gsm8kData | TableData
DataSource = Annotated[
    MiniworldData | JsonlData | OpenThoughtsData | OrzMathData | MedqaData | Gsm8kData | TableData,
    Field(discriminator="source"),
]
TrainingData = Annotated[tuple[DataSource, ...], Field(min_length=1)]


class PassRates(Settings):
    """Leave out problems that the model always or never solves."""

    file: FilePath
    """Written by `xreasoner data pass-rate`."""
    low: Fraction = 0.0
    high: Fraction = 1.0
    """Problems with a pass rate strictly between `low` and `high` are kept."""


class Filters(Settings):
    """Which problems of a stage are left out. Each one is counted and listed with the reason."""

    duplicates: Literal["keep", "exact", "near"] = "near"
    """exact: of equal questions the first is kept. near: also of nearly equal ones with the same numbers.

    Use `keep` for data with several thoughts per question."""
    thoughts: Literal["any", "required"] = "any"
    """required: leave out problems without a thought."""
    verified: bool = False
    """Leave out chains whose final answer differs from the known one. Chains without a known answer stay."""
    decontaminate: bool = True
    """Leave out questions that a benchmark of this recipe asks, quotes of them, and near copies."""
    min_tokens: Budget = 0
    max_tokens: Count | None = None
    """Tokens of question, thought and answer together."""
    pass_rates: PassRates | None = None
