"""Time and memory of the training loss against the plain one, at vocabularies of real models.

    OMP_NUM_THREADS=1 python benchmarks/loss.py [--tokens 64 512 4096] [--most-gigabytes 12]

From hidden states to their gradients (a frozen head, as with LoRA) and to those of the head (full training),
in float32. The plain loss is `torch.nn.functional.linear` and `cross_entropy`. It holds all logits, so where
these do not fit it takes the tokens in equal parts, one forward and backward pass each. Each case has its own
process. Seconds are the processor's, the best of three runs up to 512 tokens and of one beyond.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from apart import peak_mib, processor_seconds, run_apart
from xreasoner.train.loss import Head, target_loss

HIDDEN = 896
VOCABULARIES = (151_936, 262_144)
TOKENS = (64, 256, 1024, 4096, 16384)
COPIES_OF_LOGITS = 3
"""What the plain loss holds at its peak: logits, log-probabilities, gradient."""


@dataclass(frozen=True)
class Case:
    loss: str
    head: str
    vocabulary: int
    tokens: int
    tokens_at_once: int


def plain(hidden_NE: Tensor, weight_VE: Tensor, target_N: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden_NE, weight_VE), target_N, reduction="sum")


def ours(hidden_NE: Tensor, weight_VE: Tensor, target_N: Tensor) -> Tensor:
    return target_loss(hidden_NE, Head(weight_VE), target_N).loss


def measure(case: Case) -> dict[str, float]:
    torch.manual_seed(0)
    weight_VE = torch.empty(case.vocabulary, HIDDEN).normal_(std=0.02).requires_grad_(case.head == "trained")
    hidden_NE = torch.randn(case.tokens, HIDDEN, requires_grad=True)
    target_N = torch.randint(case.vocabulary, (case.tokens,))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, seconds = peak_mib(), []
    for _ in range(3 if case.tokens <= 512 else 1):
        weight_VE.grad = hidden_NE.grad = None
        began = processor_seconds()
        loss = 0.0
        for start in range(0, case.tokens, case.tokens_at_once):
            at = slice(start, start + case.tokens_at_once)
            part = {"plain": plain, "ours": ours}[case.loss](hidden_NE[at], weight_VE, target_N[at])
            part.backward()
            loss += part.item()
        seconds.append(processor_seconds() - began)
    return {"seconds": min(seconds), "mib": peak_mib() - before, "loss": loss / case.tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=VOCABULARIES)
    parser.add_argument("--most-gigabytes", type=float, default=12)
    parser.add_argument("--case", nargs=5)
    options = parser.parse_args()
    if options.case:
        loss, head, *numbers = options.case
        print(json.dumps(measure(Case(loss, head, *map(int, numbers)))))
        return
    for vocabulary in options.vocabularies:
        for head in ("frozen", "trained"):
            for tokens in options.tokens:
                compare(head, vocabulary, tokens, options.most_gigabytes)


def compare(head: str, vocabulary: int, tokens: int, most_gigabytes: float) -> None:
    from side_by_side import entry, record

    parts = 1
    while COPIES_OF_LOGITS * 4 * vocabulary * tokens / parts > most_gigabytes * 1e9:
        parts *= 2
    case = [head, str(vocabulary), str(tokens)]
    own = run_apart(__file__, "--case", "ours", *case, str(tokens))
    peer = run_apart(__file__, "--case", "plain", *case, str(tokens // parts))
    assert abs(own["loss"] - peer["loss"]) < 1e-4
    version = f"torch {torch.__version__}, plain cross entropy" + (f" in {parts} parts" if parts > 1 else "")
    name = f"loss, vocabulary {vocabulary:,}, head {head}, {tokens:,} tokens"
    record(
        [
            entry(name, [own["seconds"]], [peer["seconds"]], version, "CPU s", "1x", False),
            entry(f"{name}, memory", [own["mib"]], [peer["mib"]], version, "MiB", "", False),
        ]
    )


if __name__ == "__main__":
    main()
