"""A vLLM server in its own process, for the duration of a test."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from xreasoner.parallel import free_port
from xreasoner.recipe.settings import ServerSettings

PATIENCE = 600
# Compiling the ranks of log-probabilities, which we do not use, takes longer than the tests.
ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
POLICY = """
{python} -m vllm.entrypoints.openai.api_server --model {model} --served-model-name policy --port {port}
--weight-transfer-config {{"backend":"gloo"}} --logprobs-mode processed_logprobs
--logits-processors xreasoner.rollout.vllm_engine.banned_tokens:BannedTokens --generation-config vllm
--dtype float32 --enforce-eager --no-enable-chunked-prefill
--kv-cache-memory-bytes 134217728 --max-num-seqs 32
"""
FOR_TRAINING = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_USE_V2_MODEL_RUNNER": "0"}
# Without it, vLLM wants a NUMA node of the machine for each worker.
CORES = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}


@contextmanager
def serving_policy(checkpoint: Path, log: Path, workers: int = 1) -> Iterator[ServerSettings]:
    """As docs/vllm.md starts it for `rollout: server`."""
    port = free_port()
    command = [word.format(python=sys.executable, model=checkpoint, port=port) for word in POLICY.split()]
    command += ["--tensor-parallel-size", str(workers)]
    with running(command, port, log, FOR_TRAINING | (CORES if workers > 1 else {})) as url:
        yield ServerSettings(url=url, model="policy")


@contextmanager
def running(command: Sequence[str], port: int, log: Path, more: Mapping[str, str]) -> Iterator[str]:
    """Yields its URL as soon as it answers."""
    with log.open("w") as file:
        environment = {**os.environ, **ENVIRONMENT, **more}
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def wait_for(health: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            urlopen(health, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.5)
