"""A batch script for SLURM: one torchrun on each node, which start the GPUs' processes together."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xreasoner.launch.torchrun import OWN_STORE

PORT = 29500

SCRIPT = """\
#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={gpus}
#SBATCH --time={hours}:00:00
#SBATCH --output={name}-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
# Submit it with sbatch. A requeued job resumes the run. Add your cluster's --account and --partition.
# All nodes need this folder, the model and the data under the same paths. The run directory may be on a
# file system that they share, or on a disk of each node; its first node must then stay the same.
set -euo pipefail
cd {folder}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
threads=$(( ${{SLURM_CPUS_ON_NODE:-{gpus}}} / {gpus} ))
export {own_store}=1  # without it, restarts fail
export OMP_NUM_THREADS=$(( threads > 0 ? threads : 1 ))
srun --kill-on-bad-exit=1 {python} -m torch.distributed.run \\
  --nnodes="$SLURM_NNODES" --nproc-per-node={gpus} --max-restarts={restarts} \\
  --rdzv-backend=c10d --rdzv-endpoint="$head:{port}" --rdzv-id="$SLURM_JOB_ID" \\
  -m xreasoner {arguments}
"""


@dataclass(frozen=True)
class Job:
    name: str
    nodes: int
    gpus: int
    hours: int
    restarts: int


def slurm_script(job: Job, arguments: Sequence[str], folder: Path) -> str:
    return SCRIPT.format(
        **vars(job),
        port=PORT,
        own_store=OWN_STORE,
        folder=shlex.quote(str(folder)),
        python=shlex.quote(sys.executable),
        arguments=shlex.join(arguments),
    )
