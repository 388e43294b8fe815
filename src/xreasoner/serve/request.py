"""The JSON body of a chat request. Unsupported fields are rejected, never silently ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from xreasoner.recipe.settings import MOST, GreedyOrTemperature
from xreasoner.serve.api_error import ApiError

MAX_SAMPLES, MAX_STOPS, MAX_MESSAGES = 128, 16, 1024
_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "request_id"),
    *("parallel_tool_calls", "include_reasoning", "skip_special_tokens", "spaces_between_special_tokens"),
    "add_special_tokens",
}
"""Fields that do not affect the answer."""
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "top_p": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "best_of": (1,),
    "ignore_eos": (False,),
    "min_tokens": (0,),
}
"""Features that this server lacks, each with the values that do not use it."""


TokenLimit = Annotated[int, Field(ge=1, le=MOST)]
TokenBudget = Annotated[int, Field(ge=0, le=MOST)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(_StrictModel):
    type: Literal["text"]
    text: str


class ImageUrl(_StrictModel):
    url: str = Field(repr=False)
    detail: str | None = None


class ImagePart(_StrictModel):
    type: Literal["image_url"]
    image_url: ImageUrl


class ChatMessage(_StrictModel):
    # Clients send the assistant's message back with all its fields.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] | None = None
    tool_calls: list[Any] | None = Field(default=None, max_length=0)


class StreamOptions(_StrictModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    include_usage: bool = False


class TemplateSettings(_StrictModel):
    thinking_token_budget: TokenBudget | None = None


class ChatCompletionRequest(_StrictModel):
    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    temperature: GreedyOrTemperature | None = None
    n: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    include_stop_str_in_output: bool = False
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    thinking_token_budget: TokenBudget | None = None
    """If the thought is still open after this many generated tokens, `</think>` is injected."""
    answer_token_budget: TokenBudget | None = None
    """Maximum number of tokens after the thought."""
    exit_without_thought: bool = False
    """At the thinking budget, open `<answer>` in a reply without a thought. Chats do not expect that."""
    chat_template_kwargs: TemplateSettings | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None

    @model_validator(mode="after")
    def _check_continuation(self) -> Self:
        if self.continue_final_message:
            if self.add_generation_prompt:
                raise ValueError("continue_final_message and add_generation_prompt cannot both be true")
            final = self.messages[-1]
            if final.role != "assistant" or not isinstance(final.content, str):
                raise ValueError("continue_final_message needs a final assistant message with text content")
        elif self.add_generation_prompt is False:
            raise ValueError("add_generation_prompt can only be false with continue_final_message")
        if "" in self.stops:
            raise ValueError("stop: an empty string would match before the first token")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def think_budget(self) -> int | None:
        nested = self.chat_template_kwargs.thinking_token_budget if self.chat_template_kwargs else None
        return nested if self.thinking_token_budget is None else self.thinking_token_budget


def parse_request(encoded: bytes) -> ChatCompletionRequest:
    try:
        raw = from_json(encoded, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the request body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(raw, dict):
        raise ApiError(400, f"the request body is a {type(raw).__name__}, not an object", code="invalid_json")
    try:
        return ChatCompletionRequest.model_validate(_supported_fields(raw))
    except ValidationError as error:
        raise _validation_error(error) from None


def _supported_fields(raw: dict[str, Any]) -> dict[str, Any]:
    for name, unused in _UNSUPPORTED.items():
        if raw.get(name) is not None and raw[name] not in unused:
            raise ApiError(400, f"{name}: not supported by this server; remove it", name, "unsupported")
    return {name: value for name, value in raw.items() if name not in _UNSUPPORTED and name not in _IGNORED}


def _validation_error(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{place}: unknown field", place, "unknown_parameter")
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{place}: {message}" if place else message, place or None, "invalid_value")
