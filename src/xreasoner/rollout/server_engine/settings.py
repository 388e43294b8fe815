"""Which server is asked, how hard, and how it is made to end a thought."""

from dataclasses import dataclass

from xreasoner.recipe.settings import ExitBy


@dataclass(frozen=True)
class Server:
    url: str
    """Up to and with `/v1`."""
    model: str
    key_from: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; servers of one's own need none."""
    concurrency: int = 16
    requests_per_minute: float | None = None
    retries: int = 8
    """Of a request that met a rate limit, a broken connection or an error of the server."""
    seconds: float = 1800.0
    """A request may take so long."""
    exit_by: ExitBy = "limit"
    """How a thought that spends its budget is closed."""
