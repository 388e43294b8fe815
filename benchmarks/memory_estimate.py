"""The memory formulas of `xreasoner estimate` against the measured peak of a real training step on the CPU.

python benchmarks/memory_estimate.py
"""

import argparse
import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from apart import peak_mib, run_apart
from xreasoner.chat.template import Example
from xreasoner.estimate import memory
from xreasoner.estimate.model_shape import Shape, read_shape
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.optim import adamw
from xreasoner.train.rows import pack

MEBI = 1 << 20


@dataclass(frozen=True)
class Case:
    hidden: int
    mlp: int
    layers: int
    vocabulary: int
    tokens: int
    checkpointing: bool = False
    rank: int = 0

    def __str__(self) -> str:
        extras = [", checkpointed" if self.checkpointing else "", f", LoRA {self.rank}" if self.rank else ""]
        layers = f"{self.layers} layers of {self.hidden}/{self.mlp}"
        sizes = f"{layers}, vocabulary {self.vocabulary}, {self.tokens} tokens"
        return sizes + "".join(extras)


CASES = (
    Case(512, 1408, 8, 16000, 1024),
    Case(512, 1408, 8, 16000, 4096),
    Case(512, 1408, 8, 16000, 4096, checkpointing=True),
    Case(512, 1408, 8, 16000, 4096, rank=16),
    Case(768, 2048, 12, 32000, 1024),
    Case(768, 2048, 12, 32000, 2048, checkpointing=True),
    Case(256, 704, 4, 64000, 4096),
)


def peak(case: Case) -> tuple[float, float]:
    """Peak bytes above what the process held before the model, and what the formulas predict."""
    train(
        Case(64, 128, 1, 500, 64, case.checkpointing, case.rank)
    )  # libraries allocate their own memory first
    before = current()
    shape, adapters = train(case)
    trained = memory.TrainingSetup(shape, compute=4, adapters=adapters, on_cpu=True)
    wanted = memory.training(trained, case.tokens, case.checkpointing).total
    return peak_mib() * MEBI - before, wanted


def train(case: Case) -> tuple[Shape, int]:
    """Two steps of two rows: the moments exist from the second step on, gradients from the second row on."""
    model = Qwen2ForCausalLM(config_of(case))
    adapters = adapted(model, case) if case.rank else 0
    if case.checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    loss = LanguageModelLoss(model.train())
    optimizer = adamw(loss, 1e-4)
    half = case.tokens // 2
    examples = [Example(tuple(torch.randint(0, case.vocabulary, (half,)).tolist()), (True,) * half)] * 2
    row = pack(examples, torch.device("cpu"))
    for _ in range(2):
        for _ in range(2):
            with loss.computing():
                (loss(row).loss / case.tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    return read_shape(model.config.to_dict()), adapters


def config_of(case: Case) -> Qwen2Config:
    return Qwen2Config(
        hidden_size=case.hidden,
        intermediate_size=case.mlp,
        num_hidden_layers=case.layers,
        num_attention_heads=case.hidden // 64,
        num_key_value_heads=min(2, case.hidden // 64),
        vocab_size=case.vocabulary,
        tie_word_embeddings=False,
    )


def adapted(model: torch.nn.Module, case: Case) -> int:
    from peft import LoraConfig, inject_adapter_in_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=case.rank, target_modules=targets), model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def current() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    from side_by_side import alone, record

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=int)
    given = parser.parse_args()
    if given.case is not None:
        measured, wanted = peak(CASES[given.case])
        print(json.dumps({"measured": measured / MEBI, "wanted": wanted / MEBI}))
        return
    entries = []
    for number, case in enumerate(CASES):
        # glibc's heap keeps holes between tensors; with mmap each tensor returns its pages when freed.
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
        found = run_apart(__file__, "--case", str(number))
        off = 100 * (found["wanted"] / found["measured"] - 1)
        unit = f"% off the measured {found['measured']:,.0f} MiB"
        entries.append(alone(f"estimate: memory of a training step, {case}", off, unit, "within 15"))
    record(entries)


if __name__ == "__main__":
    main()
