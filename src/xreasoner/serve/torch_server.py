"""Serves a checkpoint on the torch engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from xreasoner.models.load import Loaded, load
from xreasoner.rollout.special_tokens import read_special_tokens
from xreasoner.serve.engine_loop import EngineLoop
from xreasoner.serve.http_server import HttpServer
from xreasoner.serve.limits import ServerLimits
from xreasoner.serve.serve_settings import ServeSettings
from xreasoner.serve.service import ChatService

REQUESTS_PER_ROW = 16
"""Requests accepted per row; when that many are in the server, more get a 429."""


def load_for_serving(checkpoint: Path) -> Loaded:
    on_gpu = torch.cuda.is_available()
    # A CPU computes several times faster in float32 than in bfloat16.
    return load(checkpoint, "cuda" if on_gpu else "cpu", torch.bfloat16 if on_gpu else torch.float32)


def limits_of(loaded: Loaded, settings: ServeSettings) -> ServerLimits:
    longest = int(loaded.model.config.get_text_config().max_position_embeddings)
    generation = loaded.model.generation_config
    samples = generation is not None and generation.do_sample
    return ServerLimits(
        context=min(settings.context or longest, longest),
        exit_tokens=read_special_tokens(loaded.model, loaded.tokenizer).exits.longest,
        think_budget=settings.think_budget,
        answer_budget=settings.answer_budget,
        temperature=float(generation.temperature or 0.0) if samples and generation is not None else 0.0,
    )


@contextmanager
def torch_service(loaded: Loaded, settings: ServeSettings, rows: int) -> Iterator[ChatService]:
    """The engine runs until the block ends."""
    limits = limits_of(loaded, settings)
    engine_loop = EngineLoop(loaded, rows, limits.context, max_requests=rows * REQUESTS_PER_ROW)
    engine_loop.start()
    try:
        yield ChatService(loaded, engine_loop, settings.name, limits)
    finally:
        engine_loop.shut_down()


@contextmanager
def torch_server(
    loaded: Loaded, settings: ServeSettings, rows: int = 16, key: str | None = None
) -> Iterator[HttpServer]:
    """Listens from the start of the block; the caller runs `serve_forever`."""
    with torch_service(loaded, settings, rows) as service:
        try:
            server = HttpServer((settings.host, settings.port), service, key)
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise ValueError(f"{where}: cannot listen: {error.strerror}; set another --port") from None
        with server:
            yield server
