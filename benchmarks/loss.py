"""Time and memory of the training loss against the plain one, at vocabularies of real models.

    OMP_NUM_THREADS=1 python benchmarks/loss.py [--tokens 64 512 4096] [--most-gigabytes 12]

From hidden states to their gradients (a frozen head, as with LoRA) and to those of the head (full training),
in float32. The plain loss multiplies by the head and calls torch.nn.functional.cross_entropy, so it holds all
logits; it is measured as far as that fits. Each case has a process of its own. Seconds are the processor's,
the best of up to three runs.
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


def plain(hidden_NE: Tensor, weight_VE: Tensor, target_N: Tensor) -> Tensor:
    return F.cross_entropy(hidden_NE @ weight_VE.T, target_N, reduction="sum")


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
        loss = {"plain": plain, "ours": ours}[case.loss](hidden_NE, weight_VE, target_N)
        loss.backward()
        seconds.append(processor_seconds() - began)
    return {"seconds": min(seconds), "mib": peak_mib() - before, "loss": loss.item() / case.tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=VOCABULARIES)
    parser.add_argument("--most-gigabytes", type=float, default=12)
    parser.add_argument("--case", nargs=4)
    options = parser.parse_args()
    if options.case:
        loss, head, vocabulary, tokens = options.case
        print(json.dumps(measure(Case(loss, head, int(vocabulary), int(tokens)))))
        return
    from side_by_side import alone, entry, record

    entries = []
    for vocabulary in options.vocabularies:
        for head in ("frozen", "trained"):
            for tokens in options.tokens:
                arguments = [head, str(vocabulary), str(tokens)]
                own = run_apart(__file__, "--case", "ours", *arguments)
                name = f"loss, vocabulary {vocabulary:,}, head {head}, {tokens:,} tokens"
                if COPIES_OF_LOGITS * 4 * vocabulary * tokens > options.most_gigabytes * 1e9:
                    entries.append(alone(name, own["seconds"], "CPU s", ""))
                    entries.append(alone(f"{name}, memory", own["mib"], "MiB", ""))
                    continue
                peer = run_apart(__file__, "--case", "plain", *arguments)
                version = f"torch {torch.__version__}, plain cross entropy"
                entries.append(
                    entry(name, [own["seconds"]], [peer["seconds"]], version, "CPU s", "1x", False)
                )
                entries.append(
                    entry(f"{name}, memory", [own["mib"]], [peer["mib"]], version, "MiB", "", False)
                )
    record(entries)


if __name__ == "__main__":
    main()
