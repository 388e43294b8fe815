"""From a checkpoint to a server on the torch engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from xreasoner.models.load import Loaded, load
from xreasoner.rollout.vocabulary import read_vocabulary
from xreasoner.serve.desk import Desk
from xreasoner.serve.http import Server
from xreasoner.serve.limits import Limits
from xreasoner.serve.service import Service
from xreasoner.serve.settings import ServeSettings

WAITING_PER_ROW = 16
"""Requests that may be under way; who comes later is asked to come again."""


def load_for_serving(checkpoint: Path) -> Loaded:
    disable_progress_bar()  # transformers' own
    on_gpu = torch.cuda.is_available()
    # A CPU computes in single precision several times faster than in half.
    return load(checkpoint, "cuda" if on_gpu else "cpu", torch.bfloat16 if on_gpu else torch.float32)


def limits_of(loaded: Loaded, settings: ServeSettings) -> Limits:
    longest = int(loaded.model.config.get_text_config().max_position_embeddings)
    generation = loaded.model.generation_config
    samples = generation is not None and generation.do_sample
    return Limits(
        context=min(settings.context or longest, longest),
        exit_tokens=len(read_vocabulary(loaded.model, loaded.tokenizer).forced_exit),
        think_budget=settings.think_budget,
        answer_budget=settings.answer_budget,
        temperature=float(generation.temperature or 0.0) if samples and generation is not None else 0.0,
    )


@contextmanager
def torch_service(loaded: Loaded, settings: ServeSettings, rows: int) -> Iterator[Service]:
    """Its engine runs while the block does."""
    limits = limits_of(loaded, settings)
    desk = Desk(loaded, rows, limits.context, most_waiting=rows * WAITING_PER_ROW)
    desk.open()
    try:
        yield Service(loaded, desk, settings.name, limits)
    finally:
        desk.close()


@contextmanager
def torch_server(
    loaded: Loaded, settings: ServeSettings, rows: int = 16, key: str | None = None
) -> Iterator[Server]:
    """Listening when the block begins; `serve_forever` is the caller's."""
    with torch_service(loaded, settings, rows) as service:
        try:
            server = Server((settings.host, settings.port), service, key)
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise ValueError(f"{where}: cannot listen there: {error.strerror}; set another --port") from None
        with server:
            yield server
