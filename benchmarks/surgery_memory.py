"""Time and peak memory of detach and graft on a checkpoint larger than the memory they are allowed.

    python benchmarks/surgery_memory.py [--gigabytes 3] [--limit-mib 1024] [--folder DIR]

Writes a random bfloat16 checkpoint with Qwen2.5-VL's layout in shards of about 500 MB, then runs each step in
its own process under a limit on private memory (RLIMIT_DATA), and reads the process's peak resident memory
(VmHWM). The peer is the obvious alternative: load the model with transformers and save its language model, or
load both and save the model with the other's weights. Processor seconds are recorded without those of the
imports, which are the same for both sides.
"""

import argparse
import filecmp
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from apart import processor_seconds
from xreasoner.storage.folders import CHECKSUMS

SHARD_BYTES = 500 * 10**6
BYTES_A_LAYER = 2 * 46_800_000
EMBEDDING_BYTES = 2 * 151_936 * 1536

STEPS = {
    "imports alone": "",
    "detach": "detach(folder / 'vlm', folder / 'lm')",
    "graft": "graft(folder / 'vlm', folder / 'lm', folder / 'back')",
    "graft, trained in float32": "graft(folder / 'vlm', folder / 'lm32', folder / 'back32')",
}
PEERS = {
    "detach": "AutoModelForImageTextToText.from_pretrained(folder / 'vlm', dtype='auto')"
    ".model.language_model.save_pretrained(folder / 'peer')",
    "graft": """
vlm = AutoModelForImageTextToText.from_pretrained(folder / 'vlm', dtype='auto')
lm = AutoModelForCausalLM.from_pretrained(folder / 'lm', dtype='auto')
vlm.model.language_model.load_state_dict(lm.model.state_dict())
vlm.save_pretrained(folder / 'peer-back')
""",
}
PROLOGUE = """
import sys
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoConfig
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from xreasoner.models.surgery import detach, graft
folder = Path(sys.argv[1])
"""
EPILOGUE = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def model_on_paper(gigabytes: float):
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    layers = max(1, round((gigabytes * 10**9 - EMBEDDING_BYTES) / BYTES_A_LAYER))
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": layers,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151_936,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={"depth": 2, "hidden_size": 1280, "out_hidden_size": 1536},
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        return Qwen2_5_VLForConditionalGeneration(config)


def shards_of(model) -> Iterator[dict]:
    import torch

    shard, size = {}, 0
    for name, parameter in model.named_parameters():
        shard[name] = torch.randn(parameter.shape, dtype=torch.bfloat16) * 0.02
        size += shard[name].nbytes
        if size >= SHARD_BYTES:
            yield shard
            shard, size = {}, 0
    yield shard


def write_checkpoint(folder: Path, gigabytes: float) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    model = model_on_paper(gigabytes)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weight_map = {}
    for number, shard in enumerate(shards_of(model), start=1):
        file = f"model-{number:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def write_float32(lm: Path, out: Path) -> None:
    """The detached model as a float32 trainer would save it, shard by shard."""
    from safetensors.torch import load_file, save_file

    out.mkdir()
    for file in lm.iterdir():
        if file.suffix == ".safetensors":
            save_file({k: v.float() for k, v in load_file(file).items()}, out / file.name, {"format": "pt"})
        else:
            shutil.copyfile(file, out / file.name)


def limit_memory(mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (mib * 2**20, mib * 2**20))


def measure(step: str, folder: Path, limit_mib: int | None) -> tuple[float, float]:
    """Peak resident MiB and processor seconds of the step in a fresh process."""
    script = PROLOGUE + step + EPILOGUE
    start = processor_seconds()
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        preexec_fn=(lambda: limit_memory(limit_mib)) if limit_mib else None,
    )
    if done.returncode:
        sys.exit(f"failed: {step}\n{done.stderr[-2000:]}")
    return int(done.stdout.split()[-1]) / 1024, processor_seconds() - start


def same_files(a: Path, b: Path) -> bool:
    names, others = (sorted(f.name for f in one.iterdir() if f.name != CHECKSUMS) for one in (a, b))
    return names == others and filecmp.cmpfiles(a, b, names, shallow=False)[0] == names


def report(folder: Path, gigabytes: float, limit_mib: int) -> None:
    write_checkpoint(folder / "vlm", gigabytes)
    files = [file.stat().st_size for file in (folder / "vlm").glob("*.safetensors")]
    print(
        f"checkpoint: {sum(files) / 2**20:.0f} MiB, {len(files)} shards, largest {max(files) / 2**20:.0f} MiB"
    )
    print(f"limit on private memory: {limit_mib} MiB")
    ours: dict[str, tuple[float, float]] = {}
    for name, step in STEPS.items():
        if "lm32" in step:
            write_float32(folder / "lm", folder / "lm32")
        ours[name] = peak, seconds = measure(step, folder, limit_mib)
        print(f"{name:28s} peak {peak:7.0f} MiB   {seconds:6.1f} CPU s", flush=True)
    peers = {name: measure(step, folder, None) for name, step in PEERS.items()}
    for name, (peak, seconds) in peers.items():
        print(f"{name + ', by transformers':28s} peak {peak:7.0f} MiB   {seconds:6.1f} CPU s   (no limit)")
    record_ratios(gigabytes, ours, peers)
    print("graft(detach(v)) is v, file for file:", same_files(folder / "vlm", folder / "back"))
    print("the same through float32:", same_files(folder / "vlm", folder / "back32"))


def record_ratios(
    gigabytes: float, ours: dict[str, tuple[float, float]], peers: dict[str, tuple[float, float]]
) -> None:
    import transformers

    from side_by_side import entry, record

    peer = f"transformers {transformers.__version__}, load and save"
    for name, theirs in peers.items():
        (peak, seconds), (their_peak, their_seconds), (_, imports) = ours[name], theirs, ours["imports alone"]
        title = f"{name} of a checkpoint of {gigabytes:g} GB"
        beyond = [seconds - imports], [their_seconds - imports]
        record(
            [
                entry(title, *beyond, peer, "CPU s", "5x", higher_is_better=False),
                entry(f"{title}, memory", [peak], [their_peak], peer, "MiB", "10x", higher_is_better=False),
            ]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--limit-mib", type=int, default=1024)
    parser.add_argument(
        "--folder", type=Path, help="where to put the files (default: the system's temporary folder)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        report(Path(folder), arguments.gigabytes, arguments.limit_mib)


if __name__ == "__main__":
    main()
