"""Starting several processes: the number of them, and the script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xreasoner.launch import torchrun
from xreasoner.launch.slurm import Job, slurm_script


def test_all_gpus_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert torchrun.processes_for(None) == 8
    assert torchrun.processes_for(2) == 2
    with pytest.raises(ValueError, match="--gpus 9: this machine has 8"):
        torchrun.processes_for(9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert torchrun.processes_for(None) == 1
    assert torchrun.processes_for(3) == 3, "processes on the CPU"


def test_the_slurm_script(tmp_path: Path) -> None:
    script = slurm_script(Job("seven", 4, 8, 48, 3), ["run", "r.yaml", "sft.lr=1e-5"], Path("/data/my runs"))
    for line in (
        "#SBATCH --nodes=4",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --time=48:00:00",
        "cd '/data/my runs'",
        "  -m xreasoner run r.yaml sft.lr=1e-5",
    ):
        assert line in script.splitlines()
    # What bash makes of it: with SLURM's commands replaced by ones that print.
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "threads=$OMP_NUM_THREADS" "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/bash\nprintf 'node3\\nnode4\\nnode5\\nnode6\\n'\n")
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "node[3-6]",
        "SLURM_NNODES": "4",
        "SLURM_JOB_ID": "77",
        "SLURM_CPUS_ON_NODE": "96",
    }
    here = script.replace("cd '/data/my runs'", f"cd {tmp_path}")
    done = subprocess.run(["bash", "-c", here], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [
        "threads=12",
        "--kill-on-bad-exit=1",
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=4",
        "--nproc-per-node=8",
        "--max-restarts=3",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=node3:29500",
        "--rdzv-id=77",
        "-m",
        "xreasoner",
        "run",
        "r.yaml",
        "sft.lr=1e-5",
    ]
