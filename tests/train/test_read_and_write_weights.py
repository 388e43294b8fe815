"""Weights read into a model without memory, and written by several ranks, against transformers' own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.models.conftest import vlm  # noqa: F401  # a fixture: every family of vision-language models
from tests.train.processes import run_on_ranks
from tests.train.test_packing_check import PACKED, UNPACKED, build
from tests.train.test_sft import settings
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.models.checkpoint import save_model
from xreasoner.models.read_weights import empty_model, give_memory, read_weights
from xreasoner.models.surgery import detach
from xreasoner.models.write_weights import folder_of_all_ranks, write_side_files, write_weights
from xreasoner.parallel import gather_shares, join_world, shard
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.policy import open_policy, save_policy

CPU = torch.device("cpu")


def everything(lm: PreTrainedModel) -> dict[str, Tensor]:
    """With the buffers that no checkpoint holds."""
    return dict(lm.state_dict()) | dict(lm.named_buffers())


def read(path: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, bool]:
    lm = empty_model(path, dtype, CPU)
    give_memory(lm, CPU)
    return lm, read_weights(lm, path)


def check_equal(path: Path, dtype: torch.dtype) -> bool:
    lm, streams = read(path, dtype)
    expected = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    wanted, found = everything(expected), everything(lm)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name
    assert lm.config.to_dict() == expected.config.to_dict()
    assert lm.generation_config.to_dict() == expected.generation_config.to_dict()
    assert len(list(lm.parameters())) == len(list(expected.parameters())), "tied weights are one"
    return streams


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_text_tower_is_read_as_transformers_reads_it(
    vlm: Path,  # noqa: F811
    tmp_path: Path,
    dtype: torch.dtype,
) -> None:
    detach(vlm, tmp_path / "lm")
    assert check_equal(tmp_path / "lm", dtype)


@pytest.mark.parametrize("name", PACKED | UNPACKED)
def test_every_architecture_is_read_as_transformers_reads_it(name: str, tmp_path: Path) -> None:
    build(name, (PACKED | UNPACKED)[name]).save_pretrained(tmp_path)
    streams = check_equal(tmp_path, torch.float32)
    assert streams == (name not in {"Qwen3Next", "MiniMax"}), "their experts are stored one by one"


def test_a_missing_file_is_refused_in_one_line(start: Path) -> None:
    (start / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has neither model") as raised:
        open_policy(start, settings(), 0, join_world())
    assert "\n" not in str(raised.value)


def shards(start: Path) -> dict[str, tuple[int, ...]]:
    policy = open_policy(start, settings(), 0, join_world())
    whole = AutoModelForCausalLM.from_pretrained(start).state_dict()
    for name, weight in policy.lm.state_dict().items():
        assert isinstance(weight, DTensor)
        assert torch.equal(weight.full_tensor(), whole[name])
    return {name: tuple(weight.to_local().shape) for name, weight in policy.lm.state_dict().items()}


def test_each_rank_holds_its_rows(start: Path) -> None:
    """A rank takes a third of the 32 rows, rounded up: 11, 11 and the other 10."""
    found = run_on_ranks(shards, 3, start)
    assert [rank["model.layers.0.self_attn.q_proj.weight"] for rank in found] == [
        (11, 32),
        (11, 32),
        (10, 32),
    ]
    assert [rank["model.norm.weight"] for rank in found] == [(11,), (11,), (10,)]


def write_in_small_files(start: Path, out: Path) -> None:
    world = join_world()
    policy = open_policy(start, settings(), 0, world)
    weights = {
        name: w.to(torch.bfloat16) for name, w in policy.lm.state_dict().items() if name != "lm_head.weight"
    }
    shapes = {name: w.shape for name, w in weights.items()}
    with folder_of_all_ranks(out, world) as folder:
        write_weights(shapes, iter(weights.items()), torch.bfloat16, folder, world, file_bytes=10_000)
        if world.is_first:
            write_side_files(policy.lm, policy.tokenizer, torch.bfloat16, folder)


def test_ranks_write_one_checkpoint_in_several_files(start: Path, tmp_path: Path) -> None:
    run_on_ranks(write_in_small_files, 3, start, tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert files == [
        f"model-{number:05d}-of-{len(files):05d}.safetensors" for number in range(1, len(files) + 1)
    ]
    assert len(files) > 3
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == files
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    expected = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16)
    assert found.dtype == torch.bfloat16
    assert index["metadata"]["total_size"] == 2 * sum(p.numel() for p in expected.parameters())
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name
    assert not list(tmp_path.glob(".*unfinished*"))


@pytest.mark.parametrize("name", ["Qwen2", "Qwen3Next"])
def test_a_saved_policy_has_the_files_of_transformers(
    name: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    save_model(build(name, PACKED[name]), tokenizer, tmp_path / "start")
    policy = open_policy(tmp_path / "start", settings(), 0, join_world())
    save_policy(policy, tmp_path / "ours")
    wanted = sorted(path.name for path in (tmp_path / "start").iterdir())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == wanted
    for file in ("config.json", "generation_config.json"):
        ours, theirs = (tmp_path / side / file for side in ("ours", "start"))
        assert json.loads(ours.read_text()) == json.loads(theirs.read_text()), file
    check_equal(tmp_path / "ours", torch.float32)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").state_dict()
    for key, value in AutoModelForCausalLM.from_pretrained(tmp_path / "start").state_dict().items():
        assert torch.equal(found[key], value), key


MEGABYTE = 10**6
WIDE = {"vocab_size": 16_384, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}


def peak_while_reading(path: Path) -> int:
    """Bytes beyond what the process had before it had a model."""
    world = join_world()
    gather_shares([0], world)  # opens the connections of gloo
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    lm = empty_model(path, torch.float32, CPU)
    loss = LanguageModelLoss(lm)
    shard(loss, lm.base_model.layers, torch.float32, world)
    give_memory(loss, CPU)
    assert read_weights(lm, path)
    return status("VmHWM") - before


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured through Linux's /proc")
def test_a_rank_needs_memory_for_its_shard_only(
    new_lm: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    """240 MB on four ranks: 60 MB each, and a buffer of 16 MiB."""
    lm = new_lm(**WIDE)
    whole = 4 * sum(p.numel() for p in lm.parameters())
    assert whole > 200 * MEGABYTE
    lm.save_pretrained(tmp_path)
    for peak in run_on_ranks(peak_while_reading, 4, tmp_path):
        assert whole / 4 <= peak < 1.2 * whole / 4 + 16 * 2**20 + 10 * MEGABYTE
