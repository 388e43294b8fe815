"""From the messages of a request to token ids."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from xreasoner.chat.apart import Begins, begins
from xreasoner.chat.template import Encoded, encode_prompt
from xreasoner.chat.think import FORCED_EXIT, THINK_OPEN
from xreasoner.models.load import Loaded
from xreasoner.records import Message, Part, Picture, Prompt
from xreasoner.serve.body import ChatBody, ChatMessage, TextPart
from xreasoner.serve.pictures import picture_of
from xreasoner.serve.refusal import RefusalError

MOST_PICTURES = 16
_TAIL = 16
"""Tokens from whose end one can read whether the template opened a thought."""


@dataclass(frozen=True)
class Asked:
    encoded: Encoded
    start: Begins
    """Where in a turn the model takes over."""
    begun: tuple[int, ...] = ()
    """The tokens of the turn that were given."""


def encode_request(body: ChatBody, loaded: Loaded) -> Asked:
    messages = [_message(message, f"messages.{i}") for i, message in enumerate(body.messages)]
    if sum(isinstance(part, Picture) for message in messages for part in message.parts) > MOST_PICTURES:
        raise RefusalError(400, f"at most {MOST_PICTURES} pictures go into one request", "messages")
    begun = "".join(map(str, messages.pop().parts)) if body.continue_final_message else ""
    encoded = _encode(Prompt("request", tuple(messages)), loaded)
    opened = _ends_open(encoded, loaded)
    if begun:
        given = _go_on(begun, opened, loaded)
        return Asked(replace(encoded, ids=(*encoded.ids, *given)), begins(begun), given)
    return Asked(encoded, "in thought" if opened else "anywhere")


def _message(message: ChatMessage, param: str) -> Message:
    role = "system" if message.role == "developer" else message.role
    return Message(role, tuple(_parts(message, f"{param}.content")))


def _parts(message: ChatMessage, param: str) -> Iterator[Part]:
    if isinstance(message.content, str):
        yield message.content
    for i, part in enumerate(message.content if isinstance(message.content, list) else ()):
        yield part.text if isinstance(part, TextPart) else picture_of(part.image_url.url, f"{param}.{i}")


def _encode(prompt: Prompt, loaded: Loaded) -> Encoded:
    try:
        return encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
    # Of the template (an order of roles it does not take), of a picture's shape, of a text-only model.
    except Exception as error:
        raise RefusalError(400, str(error).splitlines()[0][:300], "messages") from None


def _ends_open(encoded: Encoded, loaded: Loaded) -> bool:
    return str(loaded.tokenizer.decode(list(encoded.ids[-_TAIL:]))).rstrip().endswith(THINK_OPEN)


def _go_on(begun: str, opened: bool, loaded: Loaded) -> tuple[int, ...]:
    """An injected exit is encoded apart, as in the engine: its tokens are those it would have injected."""
    text = begun.lstrip().removeprefix(THINK_OPEN) if opened else begun
    written, injected = text, ""
    if text.endswith(FORCED_EXIT):
        written, injected = text.removesuffix(FORCED_EXIT), FORCED_EXIT
    pieces = (loaded.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in (written, injected))
    return tuple(chain.from_iterable(pieces))
