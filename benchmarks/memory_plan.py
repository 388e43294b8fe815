"""The memory formulas of `xreasoner plan` against the measured peak of a real training step on the CPU.

python benchmarks/memory_plan.py
"""

import argparse
import json
import resource
from dataclasses import dataclass
from pathlib import Path

import torch

from apart import peak_mib, run_apart

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
        sizes = (
            f"{self.layers} layers of {self.hidden}/{self.mlp}, {self.vocabulary} words, {self.tokens} tokens"
        )
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
    """Bytes of the peak over what the process held before the model, and what the formulas say."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from xreasoner.chat.template import Example
    from xreasoner.models.attention import packed_attention
    from xreasoner.planning import memory
    from xreasoner.planning.shapes import read_shape
    from xreasoner.train.loss import NegativeLogLikelihood, pack
    from xreasoner.train.optim import adamw

    config = Qwen2Config(
        hidden_size=case.hidden,
        intermediate_size=case.mlp,
        num_hidden_layers=case.layers,
        num_attention_heads=case.hidden // 64,
        num_key_value_heads=2,
        vocab_size=case.vocabulary,
        tie_word_embeddings=False,
    )
    before = current()
    model = Qwen2ForCausalLM(config)
    shape = read_shape(config.to_dict())
    adapters = adapted(model, case) if case.rank else 0
    if case.checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    nll = NegativeLogLikelihood(model.train())
    optimizer = adamw(nll, 1e-4)
    half = case.tokens // 2
    examples = [Example(tuple(torch.randint(0, case.vocabulary, (half,)).tolist()), (True,) * half)] * 2
    row = pack(examples, torch.device("cpu"))
    for _ in range(3):  # the moments are there from the second step on
        with packed_attention(model):
            (nll(row, reduction="sum") / case.tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = memory.Trained(shape, compute=4, adapters=adapters, on_cpu=True)
    wanted = memory.training(trained, case.tokens, case.checkpointing).total
    return peak_mib() * MEBI - before, wanted


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
        found = run_apart(__file__, "--case", str(number))
        title = f"plan: formulas off the measured {found['measured']:,.0f} MiB, {case}"
        entries.append(alone(title, 100 * (found["wanted"] / found["measured"] - 1), "%", "within 15"))
    record(entries)


if __name__ == "__main__":
    main()
