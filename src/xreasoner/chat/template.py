"""From problems to token ids: what is asked, what is trained on, and where pictures go."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedTokenizerBase

from xreasoner.chat.think import THINK_CLOSE, write_answer, write_thought
from xreasoner.records import OPTION_LETTERS, Message, Part, Picture, Problem, Prompt

IMAGE_PLACEHOLDER = "<|image_pad|>"
_REPLY = "a reply"


class PromptError(ValueError):
    """This one prompt cannot be asked; others can."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as a model takes it; the two tensors are None where there is no picture."""

    ids: tuple[int, ...]
    pixel_values: Tensor | None = field(default=None, repr=False)
    image_grid_thw: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Example:
    """A conversation to train on: only target tokens, the assistant's own, carry loss."""

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]


def problem_prompt(problem: Problem, instruction: str | None) -> Prompt:
    question = Message("user", (*problem.question, *_option_lines(problem)))
    system = (Message("system", (instruction,)),) if instruction else ()
    return Prompt(problem.id, (*system, question))


def encode_prompt(
    prompt: Prompt, tokenizer: PreTrainedTokenizerBase, image_processor: BaseImageProcessor | None
) -> Encoded:
    """Token ids up to where the assistant begins, every picture given as many places as it has tokens."""
    ids, pictures = encode_plainly(prompt, tokenizer)
    if not pictures:
        return Encoded(tuple(ids))
    if image_processor is None:
        raise ValueError(f"prompt {prompt.id} has pictures, but the model is text-only; use the grafted VLM")
    seen = _see(pictures, prompt.id, image_processor)
    grid_thw: Tensor = seen["image_grid_thw"]
    patches_per_token = image_processor.merge_size**2  # type: ignore[attr-defined]  # Qwen's processors have it
    places = (grid_thw.prod(-1) // patches_per_token).tolist()
    return Encoded(_expand(ids, _placeholder_id(tokenizer), places), seen["pixel_values"], grid_thw)


def encode_plainly(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[Picture]]:
    """Token ids with one place for every picture, and the pictures."""
    pictures = [part for message in prompt.messages for part in message.parts if isinstance(part, Picture)]
    ids = _encode_text(_render(prompt.messages, tokenizer, opens_reply=True), tokenizer)
    found = ids.count(_placeholder_id(tokenizer))
    if found != len(pictures):
        raise PromptError(
            f"prompt {prompt.id}: {len(pictures)} pictures but {found} {IMAGE_PLACEHOLDER} in the text; "
            "use a Qwen-VL chat template, and no placeholder in the question itself"
        )
    return ids, pictures


def training_example(
    problem: Problem, instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> Example:
    """Prompt, thought, answer and end of turn, as the model will see and write them.

    What has no thought is asked plainly, without the instruction: short answers keep short manners alive.
    """
    ((prompt_ids, target_ids),) = training_ids([problem], instruction, tokenizer)
    is_target = (False,) * len(prompt_ids) + (True,) * len(target_ids)
    return Example((*prompt_ids, *target_ids), is_target)


def training_ids(
    problems: Sequence[Problem], instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[int]]]:
    """What is asked and what is trained on, of many problems at once: a tokenizer then uses all cores.

    Encoded apart, as in generation: a token never straddles the place where the policy takes over.
    """
    texts = [text for problem in problems for text in _training_texts(problem, instruction, tokenizer)]
    ids = encode_texts(texts, tokenizer)
    return list(zip(ids[::2], ids[1::2], strict=True))


def encode_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [_encode_text(text, tokenizer) for text in texts]
    backend.no_padding()  # its file may ask for either
    backend.no_truncation()
    # Several times faster than the tokenizer's own call: it keeps no places of tokens in the text.
    return [one.ids for one in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def _training_texts(
    problem: Problem, instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, str]:
    if problem.pictures:
        raise ValueError(f"problem {problem.id} has a picture: training is text-only, give its text view")
    prompt = problem_prompt(problem, instruction if problem.reasoning else None)
    reply = Message("assistant", (written_reply(problem),))
    asked = _render(prompt.messages, tokenizer, opens_reply=True)
    target = _reply_part(asked, _render((*prompt.messages, reply), tokenizer, opens_reply=False))
    if problem.reasoning and THINK_CLOSE not in target:
        raise ValueError(
            "the chat template drops the thought from the assistant's turn: use one that keeps it as written"
        )
    return asked, target


def written_reply(problem: Problem) -> str:
    """The thought and the answer; the answer alone where there is no thought."""
    answer = stated_answer(problem)
    return write_thought(problem.reasoning, answer) if problem.reasoning else write_answer(answer)


def stated_answer(problem: Problem) -> str:
    """The answer as it is written between the tags: an option with its letter, `B: No`."""
    if problem.kind != "choice":
        return problem.answer
    letter = problem.answer.strip().upper()
    index = OPTION_LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= index < len(problem.choices):
        raise ValueError(f"problem {problem.id}: the answer {problem.answer!r} is no letter of its choices")
    return f"{letter}: {problem.choices[index]}"


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token the chat template ends an assistant's turn with; None where it uses plain text."""
    turns = (Message("user", ("?",)), Message("assistant", (_REPLY,)))
    ending = _render(turns, tokenizer, opens_reply=False).rpartition(_REPLY)[2]
    ids = _encode_text(ending.strip(), tokenizer)
    return ids[0] if ids and ids[0] in special_ids(tokenizer) else None


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Marks that are no text: turn and vision tokens, padding, unknown."""
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added) | frozenset(tokenizer.all_special_ids)


def _option_lines(problem: Problem) -> tuple[str, ...]:
    if problem.choices_in_picture:
        return ()
    if len(problem.choices) > len(OPTION_LETTERS):
        raise ValueError(
            f"problem {problem.id} has {len(problem.choices)} choices; at most 26 can be lettered"
        )
    return option_lines(problem.choices)


def option_lines(choices: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"\n{letter}: {choice}" for letter, choice in zip(OPTION_LETTERS, choices, strict=False))


def _render(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, opens_reply: bool) -> str:
    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template: reasoning needs an instruction-tuned model's")
    as_text = _takes_strings(tokenizer)
    conversation = [_as_chat(message, as_text) for message in messages]
    return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=opens_reply))


def _as_chat(message: Message, as_text: bool) -> dict[str, Any]:
    texts = [part for part in message.parts if isinstance(part, str)]
    if as_text and len(texts) == len(message.parts):
        return {"role": message.role, "content": "".join(texts)}
    return {"role": message.role, "content": [_as_part(part) for part in message.parts]}


def _as_part(part: Part) -> Mapping[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


@lru_cache(maxsize=16)
def _takes_strings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Language models' templates want a string; some VLMs' walk over parts and would drop a string."""
    probe = [{"role": "user", "content": "probe"}]
    return "probe" in str(tokenizer.apply_chat_template(probe, tokenize=False))


@lru_cache(maxsize=16)
def _placeholder_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """-1 where the tokenizer has none: then no text can hold one."""
    added = {token.content: i for i, token in tokenizer.added_tokens_decoder.items()}
    return added.get(IMAGE_PLACEHOLDER, -1)


def _reply_part(asked: str, whole: str) -> str:
    if not whole.startswith(asked):
        raise ValueError(
            "the chat template rewrites the prompt once it is answered, so the answer cannot be told apart: "
            "use a template whose conversation begins with its generation prompt"
        )
    # What follows the end of turn (a line break) belongs to the next message.
    return whole[len(asked) :].rstrip()


def _encode_text(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _see(pictures: Sequence[Picture], prompt_id: str, image_processor: BaseImageProcessor) -> Any:
    """Pictures come from anywhere: cut off, far too large, a thousand times as wide as high."""
    try:
        return image_processor(images=[open_picture(picture) for picture in pictures], return_tensors="pt")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PromptError(f"prompt {prompt_id}: a picture cannot be read: {error}") from None


def open_picture(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.encoded)).convert("RGB")


def _expand(ids: Sequence[int], placeholder: int, places: Sequence[int]) -> tuple[int, ...]:
    sizes = iter(places)
    return tuple(
        copy for token in ids for copy in ([token] * next(sizes) if token == placeholder else [token])
    )
