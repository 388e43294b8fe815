"""SFT on packed rows: tokens a second, the fraction of the peak (MFU), and memory against the estimate.

Other trainers on one H100, as they published it: Qwen2.5-7B LoRA at 4k 14,110 tokens/s and 43% MFU (NeMo
Automodel); Qwen3-0.6B full at 8k 26,000 tokens/s and 17%, Qwen3-4B LoRA at 16k 6,230 tokens/s and 22%
(prime-rl).
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from benchmarks.gpu.models import random_examples, random_lm
from benchmarks.gpu.stages import new_policy, sft_stage
from benchmarks.gpu.suite import Check, Line, Machine, Part, at_least, at_most, measured

from xreasoner.estimate import memory
from xreasoner.estimate.model_shape import read_shape
from xreasoner.estimate.time import training_flops
from xreasoner.recipe.schema import SftStage
from xreasoner.train.optim import GuardedStep, adamw
from xreasoner.train.policy import Policy
from xreasoner.train.rows import PackedRow, pack

STEPS = 3
OURS_TO_ESTIMATE = 0.10


@dataclass(frozen=True)
class Case:
    size: str
    tokens: int
    lora: bool = False
    mfu: float = 0.0
    """The aim, as a fraction of the peak; 0 where there is none."""
    speed: float = 0.0
    """Tokens a second that another trainer reaches on an H100; 0 where there is none."""

    def __str__(self) -> str:
        return f"{self.size} {'LoRA' if self.lora else 'full'}, rows of {self.tokens:,}"


CASES = (
    Case("7B", 4096, lora=True, mfu=0.50, speed=14110),
    Case("0.5B", 4096),
    # From here on they differ from one of the first two in their sizes and aims.
    Case("0.5B", 16384, mfu=0.17),
    Case("1.5B", 4096, mfu=0.40),
    Case("1.5B", 16384, mfu=0.40),
    Case("3B", 4096, lora=True, mfu=0.40),
    Case("3B", 16384, lora=True, mfu=0.22, speed=6230),
    Case("7B", 16384, lora=True, mfu=0.50),
)


def measure(case: Case, machine: Machine) -> Iterator[Line]:
    tokens = 256 if machine.tiny else case.tokens
    keys = {"lora": {"rank": 32}} if case.lora else {}
    dtype = torch.bfloat16 if case.lora else torch.float32
    lm = random_lm(case.size, machine, dtype)
    shape = read_shape(lm.config.to_dict())
    stage = sft_stage(dtype="bfloat16", **keys)
    adapters = shape.adapters(stage.lora.rank, stage.lora.targets) if stage.lora else 0
    setup = memory.TrainingSetup(
        shape, memory.BFLOAT16, adapters=adapters, on_cpu=machine.device.type == "cpu"
    )
    wanted = memory.training(setup, tokens, checkpointing=False).total
    checkpointing = wanted > 0.9 * machine.memory
    if checkpointing:
        stage = sft_stage(dtype="bfloat16", gradient_checkpointing=True, **keys)
        wanted = memory.training(setup, tokens, checkpointing=True).total
    note = f"recomputed: {wanted / 1e9:.0f} GB even so" if checkpointing else ""

    policy = new_policy(lm, stage, machine.world)
    examples = random_examples(tokens, tokens, shape.vocabulary, random.Random(0))
    row = pack(examples, machine.device)
    mean_length = sum(len(one.ids) ** 2 for one in examples) / tokens
    seconds = seconds_per_step(policy, row, stage, machine)
    speed = tokens / seconds
    once = stage.model_copy(update={"gradient_checkpointing": False})  # what is computed again does not count
    mfu = training_flops(once, shape, 1, mean_length) * speed / machine.peak
    yield (
        at_least("tokens/s", speed, case.speed, note=note)
        if case.speed
        else measured("tokens/s", speed, "", note)
    )
    yield at_least("MFU", mfu, case.mfu) if case.mfu else measured("MFU", mfu, "")
    if machine.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
        off = abs(peak / wanted - 1)
        yield at_most(
            "peak memory off the estimate",
            off,
            OURS_TO_ESTIMATE,
            note=f"{peak / 1e9:.1f} GB, estimated {wanted / 1e9:.1f}",
        )
    else:
        yield measured("estimated peak memory", wanted / 1e9, "GB", "not measured on a CPU")


def seconds_per_step(policy: Policy, row: PackedRow, stage: SftStage, machine: Machine) -> float:
    """The first two steps allocate the moments and warm up. Two rows a step, so that gradients add up."""
    take_step = GuardedStep(policy.loss, adamw(policy.loss, 1e-5), stage.clip_norm)

    def step() -> None:
        for _ in range(2):
            with policy.loss.computing(), policy.precision():
                loss = policy.loss(row).loss / (2 * row.targets)
                loss.backward()
        take_step(loss.item(), 0)

    for _ in range(2):
        step()
    return min(machine.seconds(step) for _ in range(STEPS)) / 2


def compiled_layers(case: Case, machine: Machine) -> Iterator[Line]:
    """`compile: true` compiles each layer; the first steps pay for it."""
    tokens = 256 if machine.tiny else case.tokens
    seconds: dict[bool, float] = {}
    for compiled in (False, True):
        lm = random_lm(case.size, machine, torch.float32)
        stage = sft_stage(dtype="bfloat16", compile=compiled)
        policy = new_policy(lm, stage, machine.world)
        row = pack(random_examples(tokens, tokens, lm.config.vocab_size, random.Random(0)), machine.device)
        began = time.monotonic()
        # On a CPU only that it runs is of interest, and not a minute of its compiler.
        with torch.compiler.set_stance("force_eager" if machine.tiny else "default"):
            seconds[compiled] = seconds_per_step(policy, row, stage, machine)
        took = time.monotonic() - began
    yield measured("tokens/s", tokens / seconds[True], "", f"first steps included, it took {took:.0f} s")
    yield at_least("times as fast as without", seconds[False] / seconds[True], 1.1)


COMPILED = Case("1.5B", 4096)
PART = Part(
    "sft",
    150,
    [
        *(
            Check(str(case), partial(measure, case), seconds=14, differs_in_size=number >= 2)
            for number, case in enumerate(CASES)
        ),
        Check(f"{COMPILED}, layers compiled", partial(compiled_layers, COMPILED), seconds=45),
    ],
)
