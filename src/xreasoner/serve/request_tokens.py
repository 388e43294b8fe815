"""From the messages of a request to token ids."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from xreasoner.chat.split_reply import ReplyStart, reply_start
from xreasoner.chat.template import Encoded, encode_prompt
from xreasoner.chat.think import FORCED_EXIT, THINK_OPEN
from xreasoner.models.load import Loaded
from xreasoner.records import Message, Part, Prompt
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.request import ChatCompletionRequest, ChatMessage, TextPart
from xreasoner.serve.request_images import RequestImages

_TAIL = 16
"""Enough tokens to see whether the template opened a thought."""


@dataclass(frozen=True)
class EncodedRequest:
    encoded: Encoded
    start: ReplyStart
    """Where in its turn the model starts to write."""
    prefix_ids: tuple[int, ...] = ()
    """The given beginning of the model's turn, if the request continues one."""


def encode_request(body: ChatCompletionRequest, loaded: Loaded) -> EncodedRequest:
    images = RequestImages()
    messages = [_message(message, f"messages.{i}", images) for i, message in enumerate(body.messages)]
    prefix = "".join(map(str, messages.pop().parts)) if body.continue_final_message else ""
    encoded = _encode(Prompt("request", tuple(messages)), loaded)
    opened = _opens_thought(encoded, loaded)
    if prefix:
        ids = _encode_prefix(prefix, opened, loaded)
        return EncodedRequest(replace(encoded, ids=(*encoded.ids, *ids)), reply_start(prefix), ids)
    return EncodedRequest(encoded, "in thought" if opened else "turn")


def _message(message: ChatMessage, param: str, images: RequestImages) -> Message:
    role = "system" if message.role == "developer" else message.role
    return Message(role, tuple(_parts(message, f"{param}.content", images)))


def _parts(message: ChatMessage, param: str, images: RequestImages) -> Iterator[Part]:
    if isinstance(message.content, str):
        yield message.content
    for i, part in enumerate(message.content if isinstance(message.content, list) else ()):
        yield part.text if isinstance(part, TextPart) else images.read(part.image_url.url, f"{param}.{i}")


def _encode(prompt: Prompt, loaded: Loaded) -> Encoded:
    try:
        return encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
    # From the template (an order of roles that it rejects), an image's shape, or an image to a text model.
    except Exception as error:
        raise ApiError(400, str(error).splitlines()[0][:300], "messages") from None


def _opens_thought(encoded: Encoded, loaded: Loaded) -> bool:
    return str(loaded.tokenizer.decode(list(encoded.ids[-_TAIL:]))).rstrip().endswith(THINK_OPEN)


def _encode_prefix(prefix: str, opened: bool, loaded: Loaded) -> tuple[int, ...]:
    """A forced exit is encoded separately, so that its tokens are those the engine would have injected."""
    text = prefix.lstrip().removeprefix(THINK_OPEN) if opened else prefix
    before, injected = text, ""
    if text.endswith(FORCED_EXIT):
        before, injected = text.removesuffix(FORCED_EXIT), FORCED_EXIT
    pieces = (loaded.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in (before, injected))
    return tuple(chain.from_iterable(pieces))
