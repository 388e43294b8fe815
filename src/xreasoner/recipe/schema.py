"""A recipe: model, stages, data and evaluation of one run, as strict typed settings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xreasoner.recipe.benchmark_entries import PROMPTS, BenchmarkSource, PromptName, prompt_names
from xreasoner.recipe.settings import (
    Budget,
    Count,
    EngineName,
    EvaluationEngine,
    FilePath,
    Fraction,
    GreedyOrTemperature,
    Instruction,
    NonNegative,
    PathText,
    Positive,
    Reward,
    Seed,
    ServerSettings,
    Settings,
    Temperature,
    refuse_half_a_server,
)
from xreasoner.recipe.training_data import (
    Filters,
    TrainingData,
)

BASE = "base"
"""How a recipe refers to the model it starts from."""

Dtype = Literal["auto", "float32", "bfloat16"]
TrackerName = Literal["trackio", "tensorboard", "wandb", "mlflow"]
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=100)]


# --- stages ---------------------------------------------------------------------------------------------


class Lora(Settings):
    """Train low-rank adapters; they are merged into the weights at the end of the stage."""

    rank: Count = 32
    alpha: Positive = 64.0
    base: Literal["own", "4bit"] = "own"
    """The frozen weights: in their own precision, or quantised to 4 bits (QLoRA), whole on each GPU. The
    result is merged into the exact weights either way."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Optimization(Settings):
    """The settings of the optimizer, which SFT and GRPO share."""

    start: str | None = Field(default=None, alias="from")
    """The stage whose checkpoint this one starts from, or `base`; by default the previous stage."""
    steps: Count | None = None
    epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Set either steps or epochs."""
    lr: Positive = 1e-5
    min_lr_ratio: Fraction = 0.0
    """The learning rate decays along a cosine to this fraction of its peak."""
    warmup: Fraction = 0.05
    """The fraction of all steps during which the learning rate rises."""
    weight_decay: NonNegative = 0.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    clip_norm: Positive = 1.0
    non_finite_steps: Budget = 0
    """Steps in a row that are skipped if their loss or gradient is not finite; one more stops the run."""
    tokens_per_microbatch: Count = 8192
    """Halved once, on one GPU, if its memory is too small."""
    freeze: tuple[Literal["embeddings"], ...] = ()
    lora: Lora | None = None
    dtype: Dtype = "auto"
    """auto: bfloat16 on GPUs that support it, and from 100M parameters on CPUs with instructions for it;
    float32 elsewhere."""
    gradient_checkpointing: bool = False
    gradient_reduction: Literal["row", "step"] = "row"
    """When several GPUs sum their gradients. row: after every packed row; each GPU then keeps only its shard.
    step: once per step, which communicates less and needs memory for all gradients on every GPU."""
    shard_over: Literal["all", "node"] = "all"
    """The GPUs that share one copy of weights and moments: all, or those of each machine. node: machines only
    sum gradients, which suits slow networks, and each GPU keeps a larger part."""
    compile: bool = False
    """Compile each layer with torch.compile: faster steps, after minutes of compiling at the start."""
    checkpoint_every: Count = 50
    """Steps between two saved training states. An interrupted run loses at most this many, or twice as many
    if it ends while a state is written."""
    save_in_background: bool = True
    """Copy a training state to host memory and write it while training continues. false: training waits until
    it is written, which needs no memory for a copy."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs")
        return self


SftAnswers = Literal["own", "shuffled", "shuffled_in_families", "direct"]


class SftStage(Optimization):
    """Supervised fine-tuning on written thoughts."""

    kind: Literal["sft"]
    data: TrainingData
    filters: Filters | None = None
    """Which problems are left out; null keeps all."""
    max_length: Count = 4096
    """Longer examples, in tokens, are left out and counted."""
    tokens_per_step: Count = 65536
    """Tokens per optimizer step, over all devices, approximately."""
    held_out: Budget = 0
    """Problems that are held out from training to measure their loss."""
    eval_every: Budget = 0
    """Steps between two measurements of the held-out loss; 0: none."""
    keep_best: bool = False
    """The result is the checkpoint with the lowest held-out loss instead of the last one."""
    answers: SftAnswers = "own"
    """Anything but `own` is a control experiment. shuffled: each problem gets the thought and answer of
    another one. shuffled_in_families: of another one of its family or, where problems have none, its domain;
    problems without a thought keep their own. direct: the answer alone, asked for as a thought would be."""

    @model_validator(mode="after")
    def _held_out_is_measured(self) -> Self:
        if bool(self.eval_every) != bool(self.held_out):
            raise ValueError("held_out and eval_every: set both or neither")
        if self.keep_best and not self.held_out:
            raise ValueError("keep_best: needs held_out and eval_every")
        return self


class GrpoStage(Optimization):
    """Reinforcement learning with verifiable rewards."""

    kind: Literal["grpo"]
    data: TrainingData
    filters: Filters | None = None
    """Which problems are left out; null keeps all."""
    max_length: Count | None = None
    """Tokens of prompt, thought and answer. Problems with longer prompts than the budgets allow are left out
    and counted; null: no limit."""
    lr: Positive = 3e-6
    rewards: Annotated[tuple[Reward, ...], Field(min_length=1)] = (Reward(function="correct"),)
    """The reward of a reply is the weighted sum of these."""
    prompts_per_step: Count = 128
    samples_per_prompt: Annotated[int, Field(ge=2)] = 8
    temperature: Temperature = 1.0
    think_budget: Count = 4096
    answer_budget: Count = 512
    forced_exit: bool = True
    """At the budget, close the thought and let the model answer; the injected tokens get no gradient."""
    exit_without_thought: bool = True
    """Do the same in a reply without a thought: open its `<answer>` at the thinking budget."""
    rollout: EngineName = "auto"
    """The engine that generates samples: torch, vllm, server or auto."""
    server: ServerSettings | None = None
    """The server of `rollout: server`; it must accept weight updates."""
    max_lag: Annotated[int, Field(ge=0, le=16)] = 0
    """With `rollout: server`: sample the answers of so many steps ahead while the policy is updated, with the
    weights from before these steps. 0: sampling and updates wait for each other."""
    rollout_memory: Fraction = 0.4
    """The fraction of GPU memory that vLLM may use; the trainer's memory stays allocated meanwhile."""
    rows: Count = 256
    """Samples that are generated concurrently."""
    clip_low: Fraction = 0.2
    clip_high: NonNegative = 0.28
    kl: NonNegative = 0.0
    """Weight of the KL penalty towards the checkpoint the stage starts from; 0 costs nothing."""
    loss: Annotated[str, Field(pattern=r"^(token|sequence|cispo|.+:[A-Za-z_][A-Za-z0-9_]*)$")] = "token"
    """token: the ratio of each token, clipped (GRPO, DAPO). sequence: one ratio per answer (GSPO). cispo: a
    truncated ratio as a weight. Or your own: `my_losses.py:loss`."""
    loss_mean: Literal["tokens", "answers", "limit"] = "tokens"
    """tokens: over all learned tokens of a step, so every token weighs the same (DAPO). answers: over each
    answer, then over answers (GRPO as published). limit: over answers times the token limit (Dr. GRPO)."""
    advantage: Annotated[str, Field(pattern=r"^(scaled|centered|.+:[A-Za-z_][A-Za-z0-9_]*)$")] = "scaled"
    """The reward compared with its group. scaled: less the mean, over the standard deviation (GRPO).
    centered: less the mean only (Dr. GRPO). Or your own: `my_losses.py:advantage`."""
    updates_per_batch: Count = 1
    """Passes over the answers of a step."""
    minibatches: Count = 1
    """Optimizer steps per pass: the prompts of a step are split into so many parts. More than one costs
    another forward pass over all parts but the first."""
    skip_zero_spread: bool = True
    """Skip groups whose rewards are all equal: they carry no gradient."""
    oversample: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Dynamic sampling: draw this many times prompts_per_step problems at once, and keep the first
    prompts_per_step whose rewards are unequal. 1: keep all that are drawn."""
    overlong: Literal["score", "drop"] = "score"
    """drop: truncated answers count in the baseline but get no gradient."""
    importance: Literal["token", "sequence"] = "token"
    """How the loss corrects for a sampler that differs from the trainer. token: each token by the ratio of
    its probabilities, truncated at importance_cap. sequence: each answer by the geometric mean of these
    ratios; answers outside importance_bounds get no gradient. It costs another forward pass."""
    importance_cap: Positive = 2.0
    """Upper bound of a token's importance weight."""
    importance_bounds: tuple[Positive, Positive] = (0.8, 1.25)
    """Lower and upper bound of an answer's importance weight."""
    held_out: Budget = 0
    """Problems that are held out from training for evaluation."""
    eval_every: Budget = 0
    """Steps between two evaluations on the held-out problems; 0: none. The best checkpoint is kept."""
    samples_every: Count = 10
    """Steps between two batches of rollouts that are written to disk for reading."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        budgets = self.think_budget + self.answer_budget
        if self.max_length is not None and self.max_length <= budgets:
            raise ValueError(
                f"max_length: {self.max_length} leaves no room for a prompt; "
                f"think_budget and answer_budget take {budgets}"
            )
        if self.eval_every and not self.held_out:
            raise ValueError("eval_every: needs held_out, the number of problems to evaluate on")
        if self.max_lag and self.rollout != "server":
            raise ValueError(
                "max_lag: needs rollout: server; an engine in this process cannot sample while the policy is "
                "updated"
            )
        if self.minibatches > self.prompts_per_step:
            raise ValueError(
                f"minibatches: {self.minibatches} parts of {self.prompts_per_step} prompts_per_step would be "
                "empty; use fewer"
            )
        low, high = self.importance_bounds
        if not low <= 1 <= high:
            raise ValueError(f"importance_bounds: 1 must lie between {low} and {high}")
        names = [reward.name for reward in self.rewards]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"rewards: two are called {name!r}; rename one of the functions")
        refuse_half_a_server("rollout", self.rollout, self.server)
        return self


Stage = Annotated[SftStage | GrpoStage, Field(discriminator="kind")]

SCHEDULE = frozenset({"lr", "min_lr_ratio", "clip_norm", "non_finite_steps", "warmup", "steps", "epochs"})
"""Settings of a stage that may be changed while it is being trained; the manifest keeps each change."""
EXECUTION = frozenset(
    {
        *(
            "tokens_per_microbatch",
            "gradient_checkpointing",
            "checkpoint_every",
            "save_in_background",
            "shard_over",
            "compile",
            "eval_every",
            "samples_every",
        ),
        *("rollout", "server", "rollout_memory", "rows"),
    }
)
"""Settings of a stage that decide how its result is computed, not what it is; they may always be changed."""


# --- evaluation -----------------------------------------------------------------------------------------


class Evaluation(Settings):
    """The benchmarks and how each checkpoint is evaluated on them."""

    benchmarks: tuple[BenchmarkSource, ...] = ()
    prompts: dict[PromptName, Instruction] = Field(default_factory=dict)
    """More system prompts, by the names that `asked` uses."""
    after: tuple[str, ...] | None = None
    """The stages to evaluate, `base` included; by default all."""
    think_budget: Count = 4096
    answer_budget: Count = 512
    forced_exit: bool = True
    """At the budget, close the thought and let the model answer."""
    exit_without_thought: bool = True
    """Do the same in a reply without a thought: open its `<answer>` at the thinking budget."""
    temperature: GreedyOrTemperature = 0.0
    samples: Count = 1
    """Samples per problem; more than one needs a temperature."""
    budgets: tuple[Budget, ...] = ()
    """Shorter thinking budgets to measure as well, from prefixes of the same answers."""
    blind: bool = False
    """Also evaluate with images removed, to find the items that can be solved from their text."""
    references: tuple[PathText, ...] = ()
    """Stages or run directories whose answers without images find those items. A stage does not judge a
    comparison in which it takes part; by default all stages of the run judge together."""
    engine: EvaluationEngine = "auto"
    """The engine that generates answers: torch, vllm, server, generate or auto. generate is transformers'
    own: one answer at a time, slowly, for any model; auto takes it where torch cannot."""
    server: ServerSettings | None = None
    """The server of `engine: server`."""
    rows: Count = 256
    """Answers that are generated concurrently."""
    dtype: Dtype = "auto"
    min_pixels: Count | None = None
    max_pixels: Count | None = None
    """Images are scaled to this range (Qwen-VL); by default the checkpoint's. The released model used 262,144
    for both."""
    logprobs: bool = False
    """Store the log-probability of each token, by which the reader colours answers: about two bytes a token.
    A server returns none."""
    seed: Seed = 0
    """Draws test items. It differs from the seed of the run, so that several runs share their test items."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: more than one at temperature 0 are all equal; set a temperature")
        refuse_half_a_server("engine", self.engine, self.server)
        for name in PROMPTS:
            if name in self.prompts:
                raise ValueError(f"prompts: {name!r} is built in; choose another name")
        for entry in self.benchmarks:
            for name in prompt_names(entry.asked):
                if name not in (*PROMPTS, *self.prompts):
                    known = ", ".join((*PROMPTS, *self.prompts))
                    raise ValueError(f"asked: no prompt {name!r} in `prompts`; there are {known}")
        if self.server is not None and (self.min_pixels or self.max_pixels):
            raise ValueError("min_pixels, max_pixels: a server scales images itself; set them there")
        too_long = [budget for budget in self.budgets if budget >= self.think_budget]
        if too_long:
            raise ValueError(f"budgets: {too_long[0]} is not below think_budget {self.think_budget}")
        return self


# --- the recipe -----------------------------------------------------------------------------------------


class Recipe(Settings):
    """One run: a base model, its training stages and its evaluation."""

    name: StageName
    model: PathText
    """A folder, a hub id, or `miniworld` for the base model that comes with the package."""
    seed: Seed = 0
    instruction: Instruction | None = None
    """The system prompt of training and evaluation. `{options: ...}` in it is shown only with options."""
    out: FilePath | None = None
    """The run directory; by default runs/NAME."""
    track: tuple[TrackerName, ...] = ()
    """Trackers that show the run as it progresses; `metrics.jsonl` has all numbers in any case."""
    about_minutes: Positive | None = None
    """Printed before the run: the approximate time on the machine the recipe was written for."""
    stages: dict[StageName, Stage] = Field(default_factory=dict)
    """In order. A stage set to null is skipped."""
    evaluation: Evaluation = Evaluation()

    @property
    def run_dir(self) -> Path:
        return self.out or Path("runs") / self.name

    def stage(self, name: str) -> Stage:
        if name not in self.stages:
            raise ValueError(
                f"{self.name}: no stage {name!r}; its stages: {', '.join(self.stages) or 'none'}"
            )
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
                raise ValueError(f"stages: {name!r} cannot be the name of a stage; it is a key of the recipe")
            earlier = [BASE, *list(self.stages)[:index]]
            if stage.start is not None and stage.start not in earlier:
                raise ValueError(
                    f"stages.{name}.from: {stage.start!r} is not an earlier stage; use {', '.join(earlier)}"
                )
        for name in self.evaluation.after or ():
            if name not in (BASE, *self.stages):
                raise ValueError(f"evaluation.after: {name!r} is not a stage of this recipe")
        return self
