"""What every part of a recipe is made of: strict, frozen settings, the numbers in them, who generates."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Budget = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


EngineName = Literal["auto", "torch", "vllm", "server"]
"""Who generates. auto: vLLM where it is installed and the model is large enough to gain by it, else torch."""


ExitBy = Literal["auto", "again", "budget", "limit"]
"""How a thought is closed on a server. again: stop at the budget and ask to continue after `</think>`, which
needs continue_final_message. budget: the server's own thinking_token_budget. limit: not at all, thought and
answer share one limit. auto: budget on `xreasoner serve`, again on vLLM and SGLang, limit elsewhere."""


class ServerAddress(Settings):
    """A running server that speaks OpenAI's chat protocol, such as `vllm serve`."""

    url: str
    """Up to and with /v1."""
    model: str
    """The name the server gives its model."""
    key_from: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; servers of one's own need none."""
    concurrency: Count = 16
    """Requests under way at once."""
    exit_by: ExitBy = "auto"
    """How a thought that spends its budget is closed: again, budget or limit; auto asks what server it is."""


def refuse_half_a_server(key: str, engine: EngineName, server: ServerAddress | None) -> None:
    if (engine == "server") != (server is not None):
        raise ValueError(
            f"{key}: server and the setting server: {{url, model}} go together; give both or none"
        )
