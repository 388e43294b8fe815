"""Peak host memory of loading, copying, saving and resuming on several ranks, and what a state costs in time.

    python benchmarks/checkpoints.py [--ranks 4] [--layers 16] [--trained-layers 5] [--folder DIR]

Two random float32 models, because 24 GiB must hold everything: one whose checkpoint is over 3 GB, to read and
write checkpoints, and one whose training state (weights and both moments) is over 3 GB, to save and resume.
Each measurement is a process group of its own on gloo. A rank's peak is VmHWM, reset before the phase
(/proc/self/clear_refs), less what the process held before it had a model. `needed` is the formula of
`estimate.host_memory` and, because this is a CPU, what the rank holds of model and optimizer.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from xreasoner.estimate import host_memory
from xreasoner.estimate.memory import FLOAT32, TrainingSetup
from xreasoner.estimate.model_shape import read_shape
from xreasoner.models.read_weights import empty_model, give_memory, own_weights, read_weights
from xreasoner.models.write_weights import folder_of_all_ranks, write_weights
from xreasoner.parallel import World, gather_shares, join_world, shard
from xreasoner.storage.run_folder import METRICS
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.optim import adamw
from xreasoner.train.samplers import empty_copy, fill_copy
from xreasoner.train.training_states import TrainingStates

CPU = torch.device("cpu")


def config(layers: int) -> Qwen2Config:
    return Qwen2Config(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=32_000,
        tie_word_embeddings=True,
        architectures=["Qwen2ForCausalLM"],
        dtype="float32",
    )


def write_random_checkpoint(layers: int, folder: Path) -> None:
    folder.mkdir()
    config(layers).save_pretrained(folder)
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(config(layers))
    shapes = {name: weight.shape for name, weight in own_weights(lm).items()}
    random = ((name, torch.randn(shape) * 0.02) for name, shape in shapes.items())
    write_weights(shapes, random, torch.float32, folder, World(0, 1, CPU), file_bytes=10**9)


# --- on each rank ---------------------------------------------------------------------------------------


def memory(field: str) -> int:
    with Path("/proc/self/status").open() as status:
        return 1024 * int(next(line for line in status if line.startswith(field)).split()[1])


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def load(start: Path, world: World) -> tuple[PreTrainedModel, LanguageModelLoss]:
    """As `open_policy` does it, without its forward pass, which gathers the embeddings."""
    lm = empty_model(start, torch.float32, CPU)
    loss = LanguageModelLoss(lm)
    shard(loss, lm.base_model.layers, torch.float32, world)
    give_memory(loss, CPU)
    assert read_weights(lm, start)
    return lm, loss


def setup(layers: int, ranks: int) -> TrainingSetup:
    return TrainingSetup(read_shape(config(layers).to_dict()), FLOAT32, ranks, on_cpu=True)


def measure(phase: str, start: Path, folder: Path, layers: int) -> dict[str, Any]:
    world = join_world()
    t = setup(layers, world.size)
    gather_shares([0], world)  # opens the connections of gloo
    before = memory("VmRSS")
    reset_peak()
    began = time.monotonic()
    lm, loss = load(start, world)
    held = host_memory.weights_on_cpu(t)
    if phase == "load":
        return result(began, before, held + host_memory.load())
    if phase == "write checkpoint":
        reset_peak()
        began = time.monotonic()
        weights = own_weights(lm)
        with folder_of_all_ranks(folder / "written", world) as out:
            shapes = {name: weight.shape for name, weight in weights.items()}
            write_weights(shapes, weights.items(), torch.float32, out, world)
        return result(began, before, held + host_memory.write_checkpoint(t, FLOAT32))
    if phase == "copy to sample from":
        reset_peak()
        began = time.monotonic()
        fill_copy(empty_copy(lm, torch.float32, CPU), own_weights(lm).items())
        return result(began, before, held + host_memory.copy_on_cpu(t))
    optimizer = adamw(loss, 1e-3)
    held += host_memory.moments_on_cpu(t)
    in_background = phase == "save in the background"
    states = TrainingStates(folder, loss, optimizer, world, in_background, print)
    reset_peak()
    began = time.monotonic()
    if phase == "resume":
        step, _ = states.resume()
        assert step == 1
        return result(began, before, held + host_memory.resume(t))
    states.save(1, {})
    waited = time.monotonic() - began
    states.finish()
    return result(began, before, held + host_memory.save(t, in_background)) | {"training waits": waited}


def result(began: float, before: int, needed: float) -> dict[str, Any]:
    return {"seconds": time.monotonic() - began, "peak": memory("VmHWM") - before, "needed": needed}


def work() -> None:
    phase, start, folder, layers = sys.argv[2:]
    world = join_world()
    found = gather_shares([measure(phase, Path(start), Path(folder), int(layers))], world)
    if world.is_first:
        print(json.dumps(found))


# --- the table ------------------------------------------------------------------------------------------


def on_ranks(ranks: int, phase: str, start: Path, folder: Path, layers: int) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *launcher, __file__, "--rank", phase, str(start), str(folder), str(layers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    worst = max(found, key=lambda rank: rank["peak"] / rank["needed"])
    waits = f"{max(rank.get('training waits', 0) for rank in found):.1f}" if "save" in phase else ""
    print(
        f"| {phase} | {ranks} | {worst['needed'] / 1e9:.2f} | {worst['peak'] / 1e9:.2f} "
        f"| {worst['peak'] / worst['needed']:.2f} | {max(r['seconds'] for r in found):.1f} | {waits} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--trained-layers", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put about 10 GB")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        (folder / METRICS).touch()
        write_random_checkpoint(asked.layers, folder / "large")
        write_random_checkpoint(asked.trained_layers, folder / "small")
        large = setup(asked.layers, 1).shape.parameters
        small = setup(asked.trained_layers, 1).shape.parameters
        print(f"checkpoint of {FLOAT32 * large / 1e9:.2f} GB; state of {3 * FLOAT32 * small / 1e9:.2f} GB\n")
        print("| phase | ranks | needed, GB a rank | peak | ratio | s | training waits, s |")
        print("|---|---|---|---|---|---|---|")
        for phase in ("load", "write checkpoint"):
            on_ranks(asked.ranks, phase, folder / "large", folder, asked.layers)
        for phase in ("copy to sample from", "save", "save in the background"):
            shutil.rmtree(folder / "state", ignore_errors=True)
            on_ranks(asked.ranks, phase, folder / "small", folder, asked.trained_layers)
        for ranks in (asked.ranks, 2, 1):
            on_ranks(ranks, "resume", folder / "small", folder, asked.trained_layers)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    work() if sys.argv[1:2] == ["--rank"] else main()
