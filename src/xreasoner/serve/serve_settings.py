"""The settings of a server, for both engines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeSettings:
    name: str
    """The model's name for clients."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 picks a free port."""
    think_budget: int = 4096
    answer_budget: int = 512
    context: int | None = None
    """Tokens of prompt and answer together; None takes the checkpoint's own limit."""
