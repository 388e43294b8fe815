"""A recipe: the model, the stages, the data and the evaluation of one run, as strict typed settings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.settings import (
    Budget,
    Count,
    EngineName,
    Fraction,
    NonNegative,
    Positive,
    ServerSettings,
    Settings,
    refuse_half_a_server,
)
from xreasoner.recipe.training_data import Filters, JsonlTable, MiniworldTask, StepRange, TrainingData
from xreasoner.records import Modality

BASE = "base"
"""The name by which a recipe refers to the model it starts from."""

Dtype = Literal["auto", "float32", "bfloat16"]
BenchmarkRole = Literal["skill", "perception"]
Manner = Literal["instructed", "plainly"]
"""With the recipe's instruction before the question, or without any."""
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


# --- stages: how the text model is trained --------------------------------------------------------------


class Lora(Settings):
    """Train low-rank adapters, merged into the weights at the end of the stage."""

    rank: Count = 32
    alpha: Positive = 64.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Optimization(Settings):
    """How weights are updated: the keys that every stage which trains has."""

    start: str | None = Field(default=None, alias="from")
    """`base`, or the stage whose checkpoint this one starts from; by default the stage before."""
    steps: Count | None = None
    epochs: Positive | None = None
    """Give either steps or epochs."""
    lr: Positive = 1e-5
    min_lr_ratio: Fraction = 0.0
    """The learning rate falls to this share of its peak along a cosine."""
    warmup: Fraction = 0.05
    """The share of all steps in which the learning rate rises."""
    weight_decay: NonNegative = 0.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    clip_norm: Positive = 1.0
    tokens_per_microbatch: Count = 8192
    max_length: Count = 4096
    """Longer examples are left out and counted."""
    freeze: tuple[Literal["embeddings"], ...] = ()
    lora: Lora | None = None
    dtype: Dtype = "auto"
    """auto: bfloat16 on a GPU that has it, float32 elsewhere."""
    gradient_checkpointing: bool = False
    checkpoint_every: Count = 50
    """Steps between two training states; a killed run loses at most so many."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self


class SftStage(Optimization):
    """Imitate written thoughts."""

    kind: Literal["sft"]
    data: TrainingData
    filters: Filters | None = None
    """Which of the data are left out; null: none."""
    tokens_per_step: Count = 65536
    """Every optimizer step sees about so many tokens, over all devices."""
    answers: Literal["own", "shuffled"] = "own"
    """shuffled: a control in which every problem gets the thought and answer of another one."""


class GrpoStage(Optimization):
    """Reinforcement learning with verifiable rewards."""

    kind: Literal["grpo"]
    data: TrainingData
    filters: Filters | None = None
    """Which of the data are left out; null: none."""
    lr: Positive = 3e-6
    prompts_per_step: Count = 128
    samples_per_prompt: Annotated[int, Field(ge=2)] = 8
    temperature: Positive = 1.0
    think_budget: Count = 4096
    answer_budget: Count = 512
    forced_exit: bool = True
    """Close a thought whose budget is spent and ask for the answer; those tokens get no gradient."""
    rollout: EngineName = "auto"
    """Who generates the samples: torch, vllm or server; auto chooses."""
    server: ServerSettings | None = None
    """Where the server of `rollout: server` is; it must let its weights be updated."""
    rollout_memory: Fraction = 0.4
    """The share of a GPU that vLLM may take while it samples; the trainer's states stay where they are."""
    rows: Count = 256
    """How many samples are generated at once."""
    clip_low: Fraction = 0.2
    clip_high: NonNegative = 0.28
    kl: NonNegative = 0.0
    """Weight of the divergence from the checkpoint the stage starts from; 0 costs nothing."""
    std_scaling: bool = True
    """Divide a group's advantages by their standard deviation."""
    updates_per_batch: Count = 1
    skip_zero_spread: bool = True
    """Groups with equal rewards carry no gradient: do not compute them."""
    refill: bool = False
    """Draw further prompts until no group of the batch is without spread."""
    max_refills: Count = 4
    """After so many extra draws a step goes on with what it has."""
    overlong: Literal["score", "drop"] = "score"
    """drop: answers cut by the budget stay in the baseline and get no gradient."""
    importance_cap: Positive = 2.0
    """Truncates the importance weights that correct for a sampler which is not the trainer."""
    held_out: Budget = 0
    """So many problems of the data are kept from training and watched."""
    eval_every: Budget = 0
    """Steps between two evaluations on the held-out problems; 0: none. The best checkpoint is kept."""
    samples_every: Count = 10
    """Steps between two rollout batches kept for reading."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.eval_every and not self.held_out:
            raise ValueError("eval_every needs held_out: how many problems to keep from training")
        refuse_half_a_server("rollout", self.rollout, self.server)
        return self


Stage = Annotated[SftStage | GrpoStage, Field(discriminator="kind")]


# --- evaluation -----------------------------------------------------------------------------------------


class MiniworldBenchmark(StepRange):
    """One benchmark for each family and view, from the test split; views of a family show the same items."""

    source: Literal["miniworld"]
    views: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("text", "image")
    name: str | None = None
    """Comes first in the names of these benchmarks."""
    role: BenchmarkRole = "skill"
    """perception: watches that seeing is kept."""
    asked: Manner = "instructed"
    task: MiniworldTask = "solve"


class JsonlBenchmark(JsonlTable):
    """A benchmark of the user's own."""

    name: str
    role: BenchmarkRole = "skill"
    asked: Manner = "instructed"


class PublishedBenchmark(Settings):
    """A published benchmark, in its own form; `xreasoner benchmarks` lists them."""

    source: Literal["benchmark"]
    name: str
    path: Path | None = None
    """A file or folder; by default it comes from the hub."""
    count: Count | None = None
    """Only so many of its items, evenly spread over it."""
    role: BenchmarkRole = "skill"
    asked: Manner = "instructed"


class ProbeBenchmark(Settings):
    """Pictures made on the spot, to read, count and look: does post-training cost a model its eyes?"""

    source: Literal["probe"]
    name: str = "probe"
    count: Count = 300
    role: BenchmarkRole = "perception"
    asked: Manner = "plainly"


BenchmarkSource = Annotated[
    MiniworldBenchmark | JsonlBenchmark | PublishedBenchmark | ProbeBenchmark,
    Field(discriminator="source"),
]


class Evaluation(Settings):
    """What every checkpoint is asked, and how."""

    benchmarks: tuple[BenchmarkSource, ...] = ()
    after: tuple[str, ...] | None = None
    """The stages evaluated when done, `base` being one; by default all of them."""
    think_budget: Count = 4096
    answer_budget: Count = 512
    forced_exit: bool = True
    temperature: NonNegative = 0.0
    samples: Count = 1
    """Answers drawn for each problem; more than one needs a temperature."""
    budgets: tuple[Budget, ...] = ()
    """Shorter thinking budgets to measure too, from the beginnings of the same answers."""
    blind: bool = False
    """Ask image problems once more without their image, to find those that text alone solves."""
    references: tuple[str, ...] = ()
    """Whose answers without the image say so: stages, or folders of other runs; by default every stage."""
    engine: EngineName = "auto"
    """Who generates the answers: torch, vllm or server; auto chooses."""
    server: ServerSettings | None = None
    """Where the server of `engine: server` is."""
    rows: Count = 256
    """How many answers are generated at once."""
    dtype: Dtype = "auto"
    seed: int = 0
    """Draws the test items; apart from the run's seed, so that several runs meet the same ones."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: several answers at temperature 0 are the same one; set a temperature")
        refuse_half_a_server("engine", self.engine, self.server)
        too_long = [budget for budget in self.budgets if budget >= self.think_budget]
        if too_long:
            raise ValueError(
                f"budgets: {too_long[0]} is not shorter than think_budget, which is {self.think_budget}"
            )
        return self


# --- the recipe -----------------------------------------------------------------------------------------


class Recipe(Settings):
    """One file in, a reasoning vision-language model out."""

    name: StageName
    model: str
    """A folder, a Hugging Face id, or `miniworld`: the base shipped with the package."""
    seed: int = 0
    instruction: str | None = None
    """The system prompt of training and evaluation."""
    out: Path | None = None
    """The run directory; by default runs/NAME."""
    about_minutes: Positive | None = None
    """Said before the run starts: about how long it takes on the machine the recipe was written for."""
    stages: dict[StageName, Stage] = Field(default_factory=dict)
    """In order. A stage set to null is left out."""
    evaluation: Evaluation = Evaluation()

    @property
    def run_dir(self) -> Path:
        return self.out or Path("runs") / self.name

    def stage(self, name: str) -> Stage:
        if name not in self.stages:
            raise ValueError(f"{self.name}: no stage {name!r}; there are {', '.join(self.stages) or 'none'}")
        return self.stages[name]

    def start_of(self, stage: str) -> str:
        """The stage, or `base`, whose checkpoint `stage` is trained from."""
        names = [BASE, *self.stages]
        return self.stages[stage].start or names[names.index(stage) - 1]

    @model_validator(mode="after")
    def _names_make_sense(self) -> Self:
        reserved = {BASE, *type(self).model_fields}
        for index, (name, stage) in enumerate(self.stages.items()):
            if name in reserved:
                raise ValueError(f"stages: {name!r} cannot name a stage; it has a meaning already")
            earlier = [BASE, *list(self.stages)[:index]]
            if stage.start is not None and stage.start not in earlier:
                raise ValueError(
                    f"stages.{name}.from: {stage.start!r} is no earlier stage; it can be {', '.join(earlier)}"
                )
        for name in self.evaluation.after or ():
            if name not in (BASE, *self.stages):
                raise ValueError(f"evaluation.after: {name!r} is no stage of this recipe")
        return self
