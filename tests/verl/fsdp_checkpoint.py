"""One rank of a run of verl that saves a checkpoint: its own manager, FSDP2 on gloo.

`python fsdp_checkpoint.py MODEL OUT RANK SIZE PORT LORA`
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.trainer.config import CheckpointConfig
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager


def main() -> None:
    model_folder, out, rank, size, port, lora = sys.argv[1:]
    os.environ |= {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo")
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    with torch.no_grad():  # "trained": every weight moved, the same on all ranks
        for parameter in model.parameters():
            parameter.mul_(1.25)
    if int(lora):
        model = with_adapter(model)
    mesh = init_device_mesh("cpu", (int(size),), mesh_dim_names=("fsdp",))
    layers = model.base_model.model.model.layers if int(lora) else model.model.layers
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())
    manager = FSDPCheckpointManager(
        model=model,
        optimizer=optimizer,
        lr_scheduler=None,
        processing_class=AutoTokenizer.from_pretrained(model_folder),
        checkpoint_config=CheckpointConfig(save_contents=["model"], load_contents=["model"]),
    )
    manager.save_checkpoint(str(Path(out) / "global_step_29" / "actor"), global_step=29)
    dist.destroy_process_group()


def with_adapter(model: torch.nn.Module) -> torch.nn.Module:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "up_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, 0, 0.1)
    return adapted


if __name__ == "__main__":
    main()
