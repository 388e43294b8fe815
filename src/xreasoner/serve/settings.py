"""What whoever serves a model chooses, the same for both engines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeSettings:
    name: str
    """What clients call the model."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    think_budget: int = 4096
    answer_budget: int = 512
    context: int | None = None
    """Tokens of prompt and answer; None: as the checkpoint says."""
