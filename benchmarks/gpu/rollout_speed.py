"""The torch engine: tokens a second, against `generate` and against what the memory's bandwidth allows."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from benchmarks.gpu.models import end_after, random_lm, random_prompts, tokenizer_of
from benchmarks.gpu.suite import Check, Line, Machine, Part, at_least, measured
from transformers import BatchEncoding

from xreasoner.chat.template import encode_prompt
from xreasoner.estimate.memory import kv_cache
from xreasoner.estimate.model_shape import Shape, read_shape
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.sampler import draw

Peer = Literal["single steps", "generate"]
MEAN, CAP = 96, 384
"""Lengths of the answers: exponential, cut."""
GENERATE_RATIO = 5
BANDWIDTH_SHARE = 0.5


def measure(size: str, rows: int, peers: Sequence[Peer], machine: Machine) -> Iterator[Line]:
    rows, mean, cap = (4, 8, 24) if machine.tiny else (rows, MEAN, CAP)
    lm = random_lm(size, machine, torch.bfloat16)
    shape = read_shape(lm.config.to_dict())
    tokenizer = tokenizer_of(shape.vocabulary)
    end_after(lm, tokenizer, mean)
    engine = TorchEngine(Loaded(lm, tokenizer, None), max_rows=rows)
    prompts = random_prompts(2 * rows, shape.vocabulary, (16, 64))
    list(engine.generate(prompts[: rows // 4], Sampling(1, 1.0, 0, 8, forced_exit=False)))  # warm-up
    speed, note = engine_speed(engine, prompts, cap, machine)
    yield measured("tokens/s", speed, "", note)
    limit = bandwidth_limit(shape, rows, 40 + mean, machine)
    share = f"{limit:,.0f} tokens/s are possible"
    yield at_least("share of the bandwidth limit", speed / limit, BANDWIDTH_SHARE, note=share)
    logits_AV = torch.randn(rows, shape.vocabulary, device=machine.device)
    temperature_A, uniform_A = (torch.full((rows,), 0.5, device=machine.device) for _ in range(2))
    drawing = machine.seconds(lambda: [draw(logits_AV, temperature_A, uniform_A) for _ in range(20)]) / 20
    yield measured("of a step, its sampling", 1e3 * drawing, "ms", f"{1e3 * rows / speed:.2f} ms a step")
    if "single steps" in peers:
        recorder, engine.recorder = engine.recorder, None
        peer, note = engine_speed(engine, prompts, cap, machine)
        engine.recorder = recorder
        yield at_least("times without CUDA graphs", speed / peer, 2, note=f"{peer:,.0f} tokens/s")
    if "generate" in peers:
        peer = generate_speed(engine, prompts[:rows], rows, cap, machine)
        yield at_least("times generate", speed / peer, GENERATE_RATIO, note=f"generate {peer:,.0f} tokens/s")


def engine_speed(engine: TorchEngine, prompts: list[Prompt], cap: int, machine: Machine) -> tuple[float, str]:
    lengths: list[int] = []

    def work() -> None:
        for rollout in engine.generate(prompts, Sampling(1, 1.0, 0, cap, forced_exit=False, seed=1)):
            lengths.append(len(rollout.token_ids))

    seconds = machine.seconds(work)
    note = f"{len(lengths)} answers of {sum(lengths) / len(lengths):.0f} tokens in {seconds:.1f} s"
    return sum(lengths) / seconds, note


def bandwidth_limit(shape: Shape, rows: int, context: int, machine: Machine) -> float:
    """A decoding step reads each weight once and the keys and values of all rows."""
    read = shape.layers * shape.layer + shape.embedding
    return rows * machine.bandwidth / (2 * read + kv_cache(shape, rows, context, width=2))


def generate_speed(
    engine: TorchEngine, prompts: list[Prompt], rows: int, cap: int, machine: Machine
) -> float:
    """Prompts sorted by length in batches of `rows`. Only tokens up to the end of turn count."""
    tokenizer, special = engine.loaded.tokenizer, engine.special_tokens
    encoded = sorted((list(encode_prompt(prompt, tokenizer, None).ids) for prompt in prompts), key=len)
    tokenizer.padding_side = "left"
    torch.manual_seed(1)
    counts: list[int] = []

    @torch.inference_mode()
    def work() -> None:
        for first in range(0, len(encoded), rows):
            batch: BatchEncoding = tokenizer.pad(
                {"input_ids": encoded[first : first + rows]}, return_tensors="pt"
            )
            ids_BT = engine.loaded.model.generate(
                **batch.to(machine.device),
                do_sample=True,
                top_k=0,
                max_new_tokens=cap,
                suppress_tokens=sorted(special.banned),
                eos_token_id=sorted(special.stops),
                pad_token_id=tokenizer.pad_token_id,
            )[:, batch["input_ids"].shape[1] :]
            counts.append(int((ids_BT != tokenizer.pad_token_id).sum()))

    seconds = machine.seconds(work)
    return sum(counts) / seconds


CASES: Sequence[tuple[str, int, Sequence[Peer], float]] = (
    ("1.5B", 64, ("single steps", "generate"), 45),
    ("1.5B", 256, ("generate",), 30),
    ("0.5B", 64, ("generate",), 25),
    ("0.5B", 256, (), 10),
    ("7B", 64, ("generate",), 35),
    ("7B", 256, (), 15),
)
PART = Part(
    "rollouts",
    150,
    [
        Check(
            f"{size}, {rows} rows",
            partial(measure, size, rows, peers),
            seconds=seconds,
            differs_in_size=number > 0,  # the first is compared with every peer
        )
        for number, (size, rows, peers, seconds) in enumerate(CASES)
    ],
)
