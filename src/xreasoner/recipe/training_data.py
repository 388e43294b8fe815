"""The data of a recipe: where problems come from, and which of them are left out."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.settings import Budget, Count, Fraction, Settings
from xreasoner.records import Kind

MiniworldTask = Literal["solve", "read"]
"""read: write down what is there, which needs no thought."""


class StepRange(Settings):
    """Keys shared by everything drawn from the mini-world."""

    families: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: tuple[Count, Count]
    """The easiest and the hardest problem, in steps of reasoning; both included."""
    count: Count
    """How many problems of each family."""

    @model_validator(mode="after")
    def _easiest_first(self) -> Self:
        if self.steps[0] > self.steps[1]:
            raise ValueError(f"steps: {list(self.steps)} must name the easiest first")
        return self


class MiniworldData(StepRange):
    """Text views of mini-world problems, from the training split."""

    source: Literal["miniworld"]
    task: MiniworldTask = "solve"
    thoughts: bool = True
    """false: asked plainly and answered at once, so that SFT rehearses what the model did before."""
    choices: bool = True
    """false: all want the answer itself. Guessing among options is rewarded by luck, which RL learns from."""


class Columns(Settings):
    """Which column of a table holds what. The optional ones may be absent from the file."""

    question: str = "question"
    answer: str = "answer"
    choices: str = "choices"
    """A list of options, or a mapping from letter to option."""
    reasoning: str = "reasoning"
    image: str = "image"
    """A file name, or a list of them, relative to the table."""
    id: str = "id"


class JsonlTable(Settings):
    """One problem a line, in the user's own file; a line that is wrong stops the run."""

    source: Literal["jsonl"]
    path: Path
    columns: Columns = Columns()
    kind: Kind | None = None
    """How answers are compared; without it `choice` where a line has choices, else `math`."""
    domain: str = "general"
    limit: Count | None = None
    """Use only so many lines, from the top."""


class JsonlData(JsonlTable):
    """Text problems to train on."""


# --- corpora: large, streamed, with rows that may be broken ---------------------------------------------


class Corpus(Settings):
    """Rows in parquet, JSON, JSONL or Arrow: a file, a folder of them, or a data set on the hub."""

    path: str
    split: str = "train"
    """Of a folder with several splits, the one to read."""
    max_bad_rows: Fraction = 0.05
    """Bad rows are skipped, counted and listed; a larger share of them stops the run."""
    limit: Count | None = None
    """Read only so many rows, from the top."""


class OpenThoughtsData(Corpus):
    """Chains of thought in the form of OpenThoughts-114k."""

    source: Literal["openthoughts"]
    path: str = "open-thoughts/OpenThoughts-114k"
    config: Literal["default", "metadata"] = "default"
    """metadata: the raw form, with the domain and a reference solution to verify against."""
    domains: tuple[str, ...] | None = None
    """Only these domains (math, code, biology, ...); they are known in the metadata form."""
    answers: Literal["solution", "final"] = "solution"
    """What is put between the answer tags: the whole solution, or the answer in its last box alone."""

    @model_validator(mode="after")
    def _domains_are_known(self) -> Self:
        if self.domains is not None and self.config == "default":
            raise ValueError("domains: the default form does not name them; set config: metadata")
        return self


class OrzMathData(Corpus):
    """Pairs of question and answer in the form of Orz-Math-57k."""

    source: Literal["orz-math"]
    path: str = "Open-Reasoner-Zero/orz_math_57k_collection"


class MedqaData(Corpus):
    """USMLE questions with 4 or 5 options in the form of MedQA."""

    source: Literal["medqa"]
    path: str = "GBaker/MedQA-USMLE-4-options"


class Gsm8kData(Corpus):
    """Grade-school mathematics in the form of GSM8K."""

    source: Literal["gsm8k"]
    path: str = "openai/gsm8k"
    config: Literal["main", "socratic"] = "main"


class TableData(Corpus):
    """The user's own rows; unlike `jsonl`, rows that are wrong are skipped and counted."""

    source: Literal["table"]
    config: str | None = None
    """Of a data set with several configurations, the one to read."""
    columns: Columns = Columns()
    kind: Kind | None = None
    """How answers are compared; without it `choice` where a row has choices, else `math`."""
    domain: str = "general"


CorpusData = OpenThoughtsData | OrzMathData | MedqaData | Gsm8kData | TableData
DataSource = Annotated[
    MiniworldData | JsonlData | OpenThoughtsData | OrzMathData | MedqaData | Gsm8kData | TableData,
    Field(discriminator="source"),
]
TrainingData = Annotated[tuple[DataSource, ...], Field(min_length=1)]


class PassRates(Settings):
    """Leave out what the model always or never solves."""

    file: Path
    """Written by `xreasoner data pass-rate`."""
    low: Fraction = 0.0
    high: Fraction = 1.0
    """Kept is what lies strictly between the two."""


class Filters(Settings):
    """What is left out of a stage's data. Everything left out is counted and listed with its reason."""

    duplicates: Literal["keep", "exact", "near"] = "near"
    """Of questions that are the same, or nearly so with the same numbers, the first is kept.

    `keep` is for data that have several thoughts of each question."""
    thoughts: Literal["any", "required"] = "any"
    """required: problems without a thought are left out."""
    verified: bool = False
    """Leave out chains whose final answer is not the known one; those without a known one stay."""
    decontaminate: bool = True
    """Leave out what is asked in a benchmark of this recipe, or quotes it, or is nearly it."""
    min_tokens: Budget = 0
    max_tokens: Count | None = None
    """Of the whole example: question, thought and answer."""
    pass_rates: PassRates | None = None
