"""The parts that recipe sections share: strict frozen settings, number types, engines, servers, rewards."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MOST = 10**12
"""The limit of all counts: sums and products of two of them fit into 64 bits or fail at once."""
Count = Annotated[int, Field(gt=0, le=MOST)]
Budget = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=0.01, le=100)]
"""Beyond, the probabilities of float32 overflow or all become equal."""


def _no_switch(value: object) -> object:
    """Python takes true for 1.0, so a switch that became a share would silently mean all."""
    if isinstance(value, bool):
        raise ValueError("a number from 0 to 1 is wanted, not true or false")
    return value


Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_switch)]


def _greedy_or_in_range(temperature: float) -> float:
    if temperature and not 0.01 <= temperature <= 100:
        raise ValueError(f"temperature: {temperature:g} is neither 0, which is greedy, nor from 0.01 to 100")
    return temperature


GreedyOrTemperature = Annotated[NonNegative, AfterValidator(_greedy_or_in_range)]


def _usable(path: str | Path) -> str | Path:
    """A path that no file system accepts would end in a traceback much later."""
    parts = str(path).split("/")
    if "\0" in str(path):
        raise ValueError("a path cannot have a NUL character")
    if max(len(part.encode()) for part in parts) > 255 or len(str(path).encode()) > 4000:
        raise ValueError("the path is too long: at most 255 bytes between slashes, and 4,000 in all")
    return path


FilePath = Annotated[Path, AfterValidator(_usable)]
PathText = Annotated[str, AfterValidator(_usable)]
"""A path, or a name on the hub."""


class Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


OPTIONS_PART = re.compile(r"\{options:(.*?)\}", re.DOTALL)


def _closed(instruction: str) -> str:
    if instruction.count("{options:") != len(OPTIONS_PART.findall(instruction)):
        raise ValueError("instruction: `{options:` has no closing brace; write {options: ...}")
    return instruction


Instruction = Annotated[str, AfterValidator(_closed)]
"""A system prompt. The part written as `{options: ...}` is only shown for problems with options."""

EngineName = Literal["auto", "torch", "vllm", "server"]
"""The engine that generates. auto: vLLM if installed and worth it for a model of this size, else torch."""
VLLM_FROM = {"cpu": 1e7, "cuda": 1e9}
"""By device: the number of parameters from which `auto` picks vLLM.

On a CPU this is where vLLM becomes faster (`benchmarks/rollout_vllm.py`). The CUDA value was not measured: it
assumes that a user who installs vLLM on a GPU machine wants it for models of this size.
"""
EvaluationEngine = EngineName | Literal["generate"]
"""generate: transformers' own, one answer at a time, slowly; auto takes it where torch cannot."""


ExitBy = Literal["auto", "again", "budget", "limit"]
"""How a server ends a thought whose budget is spent. again: stop at the budget, append `</think>` and send a
second request to continue; needs continue_final_message. budget: the server's own thinking_token_budget.
limit: no forced exit; thought and answer share one limit. auto: budget on `xreasoner serve`, again on vLLM
and SGLang, limit elsewhere."""


class ServerSettings(Settings):
    """A running server with OpenAI's chat API, such as `vllm serve`, and the load it gets."""

    url: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The base URL, ending in /v1. Several: the same model on several servers, which share the questions."""
    model: str
    """The model's name on the server."""
    key_from: str = "OPENAI_API_KEY"
    """The environment variable that holds the API key; a local server needs none."""
    concurrency: Count = 16
    """Requests in flight at once, on each server."""
    requests_per_minute: Positive | None = None
    """A rate limit to stay under."""
    retries: Budget = 8
    """Retries of a request after a rate limit, a dropped connection or a server error."""
    seconds: Positive = 1800.0
    """Timeout of one request."""
    exit_by: ExitBy = "auto"
    """How the thought ends at its budget: again, budget or limit; auto decides by the kind of server."""

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.url,) if isinstance(self.url, str) else self.url


def refuse_half_a_server(key: str, engine: EvaluationEngine, server: ServerSettings | None) -> None:
    if (engine == "server") != (server is not None):
        raise ValueError(
            f"{key}: server and the setting server: {{url, model}} go together; set both or neither"
        )


FunctionName = Annotated[str, Field(pattern=r"^.+:[A-Za-z_][A-Za-z0-9_]*$")]
"""Your own: `my_rewards.py:score`, `package.module:score`."""


class Reward(Settings):
    """A reward function of GRPO and its weight in the sum."""

    function: Annotated[str, Field(pattern=r"^(correct|form|overlong|length|.+:[A-Za-z_][A-Za-z0-9_]*)$")]
    """`correct`, `form`, `overlong`, `length`, or your own: `my_rewards.py:score`, `package.module:score`."""
    weight: float = 1.0
    seconds: Positive = 60.0
    """The time limit of a call of your own function."""

    @property
    def name(self) -> str:
        """In metrics and samples."""
        return self.function.rpartition(":")[2]
