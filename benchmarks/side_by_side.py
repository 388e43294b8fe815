"""Shared by the benchmarks against peers: the workload, alternating runs, and the entry in results.json."""

import datetime
import json
import os
import platform
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.checkpoint import save_model
from xreasoner.records import Problem

RESULTS = Path(__file__).parent / "results.json"


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""On a shared machine the CPU time of a single thread is the steadier measure."""


def measure_with(clock: str, stage: ModuleType) -> Callable[[], float]:
    """Also sets the clock of the stage itself, which writes its seconds into metrics.jsonl."""
    stage.time = SimpleNamespace(monotonic=CLOCKS[clock])  # type: ignore[attr-defined]
    return CLOCKS[clock]


_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SIZES: dict[str, dict[str, int]] = {
    "1M": dict(zip(_SHAPE, (128, 384, 5, 4), strict=True)),
    "3M": dict(zip(_SHAPE, (192, 576, 7, 6), strict=True)),
    "10M": dict(zip(_SHAPE, (320, 960, 9, 10), strict=True)),
    "30M": dict(zip(_SHAPE, (512, 1536, 10, 8), strict=True)),
    "100M": dict(zip(_SHAPE, (768, 3072, 12, 12), strict=True)),
}


def write_model(folder: Path, size: str = "1M") -> PreTrainedTokenizerBase:
    """A random Qwen2 in float32; the smallest has the size of the mini-world's model."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SIZES[size],
    )
    save_model(Qwen2ForCausalLM(config), tokenizer, folder)
    return tokenizer


def written_problems(count: int, thought_words: Callable[[random.Random], int]) -> list[Problem]:
    """Meaningless questions of 15 to 30 words, with thoughts of the requested lengths."""
    rng = random.Random(0)

    def words(n: int) -> str:
        return " ".join(str(rng.randint(0, 59)) for _ in range(n))

    return [
        Problem(f"p{i}", (words(rng.randint(15, 30)),), "7", "exact", reasoning=words(thought_words(rng)))
        for i in range(count)
    ]


def alternate(
    ours: Callable[[], float], peers: Mapping[str, Callable[[], float]], rounds: int, unit: str
) -> tuple[list[float], dict[str, list[float]]]:
    """Each side runs once per round, so that other load affects all alike. The first round is warm-up."""
    own: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(rounds + 1):
        measured = ours()
        line = f"round {turn}: ours {measured:,.4g} {unit}"
        if turn:
            own.append(measured)
        for name, peer in peers.items():
            found = peer()
            line += f", {name} {found:,.4g}"
            if turn:
                others[name].append(found)
        print(line + ("" if turn else "  (warm-up)"), flush=True)
    return own, others


def entry(
    name: str, own: list[float], other: list[float], peer: str, unit: str, aim: str, higher_is_better: bool
) -> dict[str, object]:
    """Medians, and the spread of the ratios per round: what slows a round slows both sides."""
    ratios = sorted(a / b if higher_is_better else b / a for a, b in zip(own, other, strict=True))
    return alone(name, statistics.median(own), unit, aim) | {
        "peer": statistics.median(other),
        "peer_version": peer,
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
    }


def alone(name: str, measured: float, unit: str, aim: str) -> dict[str, object]:
    """A measurement without a peer to compare with."""
    return {
        "name": name,
        "ours": measured,
        "peer": None,
        "peer_version": None,
        "unit": unit,
        "ratio": None,
        "spread": None,
        "aim": aim,
        "device": f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores, float32",
        "command": "python " + shlex.join([str(Path(sys.argv[0])), *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
    }


def record(entries: list[dict[str, object]]) -> None:
    """Write the entries to results.json, replacing older ones of the same name."""
    before = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    names = {one["name"] for one in entries}
    kept = [one for one in before if one["name"] not in names]
    RESULTS.write_text(json.dumps([*kept, *entries], indent=2) + "\n")
    for one in entries:
        if one["peer"] is None:
            print(f"{one['name']}: {one['ours']:,.4g} {one['unit']}")
            continue
        low, high = one["spread"]  # type: ignore[misc]
        print(f"{one['name']}: {one['ratio']:.2f}x ({low:.2f} to {high:.2f}) against {one['peer_version']}")
