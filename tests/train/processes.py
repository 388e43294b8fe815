"""The same stages trained by several real processes, with the variables that torchrun would set.

They are forked from a server that has imported everything, so a rank starts in milliseconds.
"""

import copyreg
import json
import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from tests.forked import forks
from transformers import AutoModelForCausalLM

from xreasoner.parallel import full_weight, join_world
from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.optim import adamw
from xreasoner.train.policy import open_policy
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay
from xreasoner.train.training_states import TrainingStates, state_tensors


def tags_of(known: dict[str, str]) -> MappingProxyType[str, str]:
    return MappingProxyType(known)


# Python cannot send a problem's tags to another process by itself.
copyreg.pickle(MappingProxyType, lambda tags: (tags_of, (dict(tags),)))

Numbers = dict[str, np.ndarray]


def run_on_ranks(work: Callable[..., Any], processes: int, *arguments: Any) -> list[Any]:
    """What `work`, a function of a module, returns on each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [forks.Pipe(duplex=False) for _ in range(processes)]
    ranks = [
        forks.Process(target=_rank, args=(work, rank, processes, port, told, arguments))
        for rank, (_, told) in enumerate(pipes)
    ]
    for process in ranks:
        process.start()
    for _, told in pipes:
        told.close()
    answers = []
    for process, (heard, _) in zip(ranks, pipes, strict=True):
        answers.append(heard.recv() if heard.poll(600) else (False, "no answer"))
        process.join()
    failures = [answer for worked, answer in answers if not worked]
    assert not failures, "\n".join(failures)
    return [answer for _, answer in answers]


def _rank(
    work: Callable[..., Any], rank: int, processes: int, port: int, told: Any, arguments: Sequence[Any]
) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ["LOCAL_WORLD_SIZE"] = "2"  # of `shard_over: node`
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    try:
        told.send((True, work(*arguments)))
    except BaseException:
        told.send((False, f"rank {rank}: {traceback.format_exc()}"))


def train_stages(
    start: Path,
    out: Path,
    stages: Mapping[str, SftStage | GrpoStage],
    problems: list[Problem],
    held_out: int = 0,
) -> None:
    """Each stage from `start` to its folder in `out`, one after the other in the same processes."""
    for name, chosen in stages.items():
        if isinstance(chosen, SftStage):
            train_sft(chosen, start, problems, out / name, 0, NoDisplay())
        else:
            train_grpo(chosen, start, problems, problems[:held_out], out / name, 0, NoDisplay())


def train_on(
    start: Path,
    out: Path,
    stages: Mapping[str, SftStage | GrpoStage],
    problems: list[Problem],
    held_out: int = 0,
    processes: int = 2,
) -> None:
    run_on_ranks(train_stages, processes, start, out, stages, problems, held_out)


def read_metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def loaded_state(start: Path, chosen: SftStage | GrpoStage, out: Path) -> tuple[int, Numbers]:
    """The step of the newest state, and all of its tensors, gathered."""
    world = join_world()
    policy = open_policy(start, chosen, 0, world)
    optimizer = adamw(policy.loss, 1e-3)
    states = TrainingStates(out, policy.loss, optimizer, world, in_background=True, say=print)
    step, _ = states.resume()
    found = state_tensors(policy.loss, optimizer)
    return step, {name: full_weight(value).detach().numpy() for name, value in found.items()}


def difference(found: Path, expected: Path, start: Path) -> float:
    """How far two checkpoints are apart, as a fraction of how far training moved the second one."""
    models = [
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (found, expected, start)
    ]
    first, second, before = (torch.cat([p.detach().flatten() for p in lm.parameters()]) for lm in models)
    return ((first - second).norm() / (second - before).norm()).item()
