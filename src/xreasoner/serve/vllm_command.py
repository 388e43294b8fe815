"""How `vllm serve` is started for a model of ours."""

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
from xreasoner.serve.settings import ServeSettings

PARSER_FILE = Path(__file__).with_name("vllm_parser.py")
PARSER = "xreasoner"
MOST_PICTURES = 16


def become_vllm(checkpoint: Path, settings: ServeSettings, key: str | None, more: Sequence[str]) -> NoReturn:
    """This process turns into the server."""
    command = vllm_command(checkpoint, settings, more)
    # vLLM's newer model runner takes no processors of logits, by which tokens are forbidden.
    environment = {"VLLM_USE_V2_MODEL_RUNNER": "0"} | os.environ
    # The key goes by the environment: everybody on the machine can read arguments.
    os.execve(command[0], command, environment | ({"VLLM_API_KEY": key} if key else {}))


def vllm_command(checkpoint: Path, settings: ServeSettings, more: Sequence[str] = ()) -> list[str]:
    """`more` is passed on, and wins."""
    exit_text = {"reasoning_parser": PARSER, "reasoning_end_str": FORCED_EXIT}
    # What `vllm serve` runs; the command itself asks for a package called vllm, and builds for CPUs are not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--served-model-name", settings.name, "--host", settings.host, "--port", str(settings.port)]
    # Its own parsers need the tags to be single tokens, which they are not in Qwen2.5's vocabulary.
    command += ["--reasoning-parser-plugin", str(PARSER_FILE), "--reasoning-parser", PARSER]
    command += ["--reasoning-config", json.dumps(exit_text)]
    command += ["--override-generation-config", json.dumps(defaults(checkpoint, settings))]
    # A model asked in pictures must not draw any: their marks are forbidden, as in training.
    command += ["--logits-processors", "xreasoner.rollout.vllm_engine.banned_tokens:BannedTokens"]
    if not torch.cuda.is_available():
        command += _on_cpu()
    if has_vision(checkpoint):
        command += ["--limit-mm-per-prompt", json.dumps({"image": MOST_PICTURES, "video": 0})]
    if template := chat_template_beside(checkpoint):
        command += ["--chat-template", template]
    if settings.context is not None:
        command += ["--max-model-len", str(settings.context)]
    return [*command, *more]


def defaults(checkpoint: Path, settings: ServeSettings) -> dict[str, float]:
    """Of what a request leaves open. Without a word about sampling vLLM samples; transformers does not."""
    limit = settings.think_budget + settings.answer_budget + len(FORCED_EXIT)
    file = checkpoint / "generation_config.json"
    samples = file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("do_sample")
    return {"max_new_tokens": limit} | ({} if samples else {"temperature": 0.0})


def _on_cpu() -> list[str]:
    """As the engine in process: vLLM neither compiles, nor takes all memory, nor reads prompts in parts."""
    cache = str(cpu_cache_bytes())
    return ["--enforce-eager", "--no-enable-chunked-prefill", "--kv-cache-memory-bytes", cache]


def chat_template_beside(checkpoint: Path) -> str | None:
    """Older VLM checkpoints keep the template with the processor; a tokenizer's own is found by vLLM."""
    config, beside = checkpoint / "tokenizer_config.json", checkpoint / "chat_template.json"
    if (checkpoint / "chat_template.jinja").is_file() or not beside.is_file():
        return None
    if config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8")):
        return None
    return str(json.loads(beside.read_text(encoding="utf-8"))["chat_template"])
