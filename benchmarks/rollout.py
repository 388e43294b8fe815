"""Rollouts, tokens per second: our engine against transformers' `generate` on the same model and prompts.

    python benchmarks/rollout.py [--rounds 5] [--prompts 48] [--samples 8] [--threads 1]

A random model ends its answer with the same small probability at every token, so that lengths have a long
tail, cut at 256 tokens, and follow the same distribution for both (both means are printed). Only tokens up to
the end of turn count; `generate` also computes padding until its longest row ends. It gets prompts sorted by
length, the best of several batch sizes, and no log-probabilities, which ours always returns. Two workloads:
groups of samples, as in reinforcement learning, and one sample per prompt, as in evaluation.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from transformers import BatchEncoding

from side_by_side import alternate, entry, record, write_model, written_problems
from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.models.load import load
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.torch_engine.engine import TorchEngine

CAP = 256


class Bench:
    """`clock` tells what the seconds are of; `cap` is the longest answer."""

    def __init__(
        self,
        folder: Path,
        rows: int,
        size: str = "1M",
        cap: int = CAP,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        write_model(folder, size)
        self.cap, self.clock = cap, clock
        self.loaded = load(folder)
        self.engine = TorchEngine(self.loaded, rows)
        self.lengths: dict[str, list[float]] = {}
        self.turn = 0

    def ours(self, prompts: Sequence[Prompt], samples: int) -> float:
        return self.by_engine("ours", self.engine, prompts, samples)

    def by_engine(self, name: str, engine: Engine, prompts: Sequence[Prompt], samples: int) -> float:
        self.turn += 1
        sampling = Sampling(samples, 1.0, 0, self.cap, forced_exit=False, seed=self.turn)
        began = self.clock()
        lengths = [len(rollout.token_ids) for rollout in engine.generate(prompts, sampling)]
        return self._speed(name, lengths, self.clock() - began)

    def by_generate(self, prompts: Sequence[Prompt], samples: int, rows: int) -> float:
        self.turn += 1
        torch.manual_seed(self.turn)
        began = self.clock()
        encoded = [list(encode_prompt(prompt, self.loaded.tokenizer, None).ids) for prompt in prompts]
        encoded.sort(key=len, reverse=True)
        at_once = max(1, rows // samples)
        lengths: list[int] = []
        for first in range(0, len(encoded), at_once):
            lengths += self._generate(encoded[first : first + at_once], samples)
        return self._speed(f"generate, {rows} rows", lengths, self.clock() - began)

    @torch.inference_mode()
    def _generate(self, encoded: list[list[int]], samples: int) -> list[int]:
        tokenizer, vocabulary = self.loaded.tokenizer, self.engine.special_tokens
        tokenizer.padding_side = "left"
        padded: BatchEncoding = tokenizer.pad({"input_ids": encoded}, return_tensors="pt")
        ids = self.loaded.model.generate(
            **padded,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=samples,
            max_new_tokens=self.cap,
            suppress_tokens=sorted(vocabulary.banned),
            eos_token_id=sorted(vocabulary.stops),
            pad_token_id=tokenizer.pad_token_id,
        )[:, padded["input_ids"].shape[1] :]
        tokenizer.batch_decode(ids)
        return [(row != tokenizer.pad_token_id).sum().item() for row in ids]

    def _speed(self, name: str, lengths: Sequence[int], seconds: float) -> float:
        self.lengths.setdefault(name, []).append(statistics.fmean(lengths))
        return sum(lengths) / seconds


def compare(
    bench: Bench, name: str, count: int, samples: int, options: argparse.Namespace
) -> dict[str, object]:
    prompts = [problem_prompt(problem, None) for problem in written_problems(count, lambda rng: 1)]
    print(f"{name}: {count} prompts, {samples} samples each")
    peers: dict[str, Callable[[], float]] = {
        f"generate, {rows} rows": lambda rows=rows: bench.by_generate(prompts, samples, rows)  # type: ignore[misc]
        for rows in options.peer_rows
    }
    own, others = alternate(lambda: bench.ours(prompts, samples), peers, options.rounds, "tokens/s")
    best = max(others.values(), key=statistics.median)
    peer = f"transformers {transformers.__version__} generate"
    return entry(name, own, best, peer, "tokens/s", "", higher_is_better=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--peer-rows", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.rows)
        everything = options.prompts * options.samples
        record([compare(bench, "Rollouts, 8 samples per prompt", options.prompts, options.samples, options)])
        record([compare(bench, "Rollouts, 1 sample per prompt", everything, 1, options)])
    for name, lengths in bench.lengths.items():
        print(f"mean length, {name}: {statistics.fmean(lengths):.1f} tokens")


if __name__ == "__main__":
    main()
