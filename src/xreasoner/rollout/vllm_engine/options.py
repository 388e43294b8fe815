"""How vLLM is started: quietly, in this process, with sampling that can be learned from."""

import gc
import os
from pathlib import Path
from typing import Any

import torch

from xreasoner.models.config import has_vision
from xreasoner.parallel import launched_processes
from xreasoner.rollout.vllm_engine.version import why_not_vllm

LEAST_CPU_CACHE, MOST_CPU_CACHE = 2**28, 2**33
"""Bytes; in between, a quarter of the memory that is free."""


def prepare_environment() -> None:
    """To be called before vLLM is imported. What the user has set stays."""
    trouble = why_not_vllm()
    if trouble:
        raise ValueError(f"engine vllm: {trouble}")
    # The engine shares this process, so that new weights are handed over and not sent.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # Its newer model runner takes no processors of logits, by which tokens are banned.
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # An engine before this one, if nobody holds it any more, gives its memory back first.
    gc.collect()
    torch.cuda.empty_cache()


def engine_options(checkpoint: Path, dtype: torch.dtype, rows: int, memory: float) -> dict[str, Any]:
    """Arguments of vLLM's engine; `memory` is the share of a GPU it may take."""
    from xreasoner.rollout.vllm_engine.banned_tokens import BannedTokens

    return {
        "model": str(checkpoint),
        "dtype": str(dtype).removeprefix("torch."),
        "max_num_seqs": rows,
        # Of the distribution that was sampled from: after temperature and bans.
        "logprobs_mode": "processed_logprobs",
        "logits_processors": [BannedTokens],
        "generation_config": "vllm",
        "disable_log_stats": True,
        **_of_kind(checkpoint),
        **_among(launched_processes()),
        **(_on_gpu(memory) if torch.cuda.is_available() else _on_cpu()),
    }


def _of_kind(checkpoint: Path) -> dict[str, Any]:
    if has_vision(checkpoint):
        return {"limit_mm_per_prompt": {"video": 0}}
    # Texts are encoded by our tokenizer, which keeps a vocabulary of its own as it is.
    return {"skip_tokenizer_init": True}


def _among(processes: int) -> dict[str, Any]:
    """Each process has an engine of its own; vLLM uses the groups that are there, where there are any."""
    return {"distributed_executor_backend": "external_launcher"} if processes > 1 else {}


def _on_gpu(memory: float) -> dict[str, Any]:
    return {"gpu_memory_utilization": memory, "enable_sleep_mode": True}


def _on_cpu() -> dict[str, Any]:
    # A prompt read in parts costs a seeded request a draw that vLLM takes back, which it cannot on a CPU.
    return {
        "kv_cache_memory_bytes": cpu_cache_bytes(),
        "enforce_eager": True,
        "enable_chunked_prefill": False,
    }


def cpu_cache_bytes() -> int:
    """By itself vLLM wants nearly all memory, and does not start where others have some of it."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MOST_CPU_CACHE, max(LEAST_CPU_CACHE, free // 4))
