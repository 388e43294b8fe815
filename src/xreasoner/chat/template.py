"""From problems to token ids: prompts, training examples, and placeholders of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedTokenizerBase

from xreasoner.chat.image_tokens import FamilyImages
from xreasoner.chat.open_image import open_image
from xreasoner.chat.think import THINK_CLOSE, write_answer, write_thought
from xreasoner.recipe.settings import OPTIONS_PART
from xreasoner.records import OPTION_LETTERS, Message, Part, Picture, Problem, Prompt

PLACEHOLDERS = ("<|image_pad|>", "<|image|>", "<start_of_image>", "<IMG_CONTEXT>", "[IMG]", "<image>")
"""What the chat templates of the supported families write for an image."""
_REPLY = "a reply"

T = TypeVar("T")


class PromptError(ValueError):
    """This prompt is invalid; others are not affected."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as a model's input; the two tensors are None if it has no images."""

    ids: tuple[int, ...]
    pixel_values: Tensor | None = field(default=None, repr=False)
    image_grid_thw: Tensor | None = field(default=None, repr=False)
    other_inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """What families other than Qwen's want beside the pixels."""

    @property
    def has_own_mask(self) -> bool:
        """Some tokens attend forward, so that prefill needs the model's own attention mask."""
        return "token_type_ids" in self.other_inputs


@dataclass(frozen=True)
class Example:
    """A conversation to train on; only the assistant's tokens are targets of the loss."""

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]


def problem_prompt(problem: Problem, instruction: str | None) -> Prompt:
    question = Message("user", (*problem.question, *_option_lines(problem)))
    system = (Message("system", (instruction_for(problem, instruction),)),) if instruction else ()
    return Prompt(problem.id, (*system, question))


def instruction_for(problem: Problem, instruction: str) -> str:
    """The part in `{options: ...}` is for problems with options: shown elsewhere, models copy its example."""
    return OPTIONS_PART.sub(r"\1" if problem.choices else "", instruction)


def encode_prompt(
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    image_processor: BaseImageProcessor | FamilyImages | None,
) -> Encoded:
    """Token ids up to the assistant's turn, with all tokens of each image."""
    ids, pictures = encode_plainly(prompt, tokenizer)
    if not pictures:
        return Encoded(tuple(ids))
    if isinstance(image_processor, FamilyImages):
        return _encode_family(prompt, pictures, tokenizer, image_processor)
    if image_processor is None:
        raise ValueError(
            f"prompt {prompt.id} has images, but the model is text-only (use the grafted VLM), or this "
            "engine does not know its images (use vLLM or a server, or evaluate with engine: generate)"
        )
    processed = readable(
        prompt.id, lambda: image_processor(images=list(map(open_picture, pictures)), return_tensors="pt")
    )
    grid_thw: Tensor = processed["image_grid_thw"]
    patches_per_token = image_processor.merge_size**2  # type: ignore[attr-defined]  # Qwen's processors have it
    counts = (grid_thw.prod(-1) // patches_per_token).tolist()
    return Encoded(_expand(ids, _placeholder(tokenizer)[1], counts), processed["pixel_values"], grid_thw)


def written_prompt(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[str, list[Picture]]:
    """The text that the chat template writes, up to the assistant's turn, and the images."""
    pictures = [part for message in prompt.messages for part in message.parts if isinstance(part, Picture)]
    return _render(prompt.messages, tokenizer, opens_reply=True), pictures


def refuse_too_long(prompt_id: str, tokens: int, config: PreTrainedConfig) -> None:
    limit = config.get_text_config().max_position_embeddings
    if tokens >= limit:
        raise PromptError(f"prompt {prompt_id} has {tokens:,} tokens; the model's limit is {limit:,}")


def encode_plainly(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[Picture]]:
    """Token ids with one placeholder per image, and the images."""
    text, pictures = written_prompt(prompt, tokenizer)
    ids = _encode_text(text, tokenizer)
    placeholder, placeholder_id = _placeholder(tokenizer)
    found = ids.count(placeholder_id)
    if found != len(pictures):
        raise PromptError(
            f"prompt {prompt.id}: {len(pictures)} images but {found} {placeholder} in the text; "
            "the chat template must write one per image, and the question none"
        )
    return ids, pictures


def _encode_family(
    prompt: Prompt, pictures: Sequence[Picture], tokenizer: PreTrainedTokenizerBase, family: FamilyImages
) -> Encoded:
    pieces = _render(prompt.messages, tokenizer, opens_reply=True).split(family.placeholder)
    if len(pieces) != len(pictures) + 1:
        raise PromptError(f"prompt {prompt.id}: {len(pictures)} images but {len(pieces) - 1} in its text")
    inputs, tokens = readable(prompt.id, lambda: family.read([open_picture(one) for one in pictures]))
    text = pieces[0] + "".join(image + after for image, after in zip(tokens, pieces[1:], strict=True))
    ids = _encode_text(text, tokenizer)
    if family.marked_token is not None:
        inputs["token_type_ids"] = torch.tensor([[int(token == family.marked_token) for token in ids]])
    return Encoded(tuple(ids), inputs.pop("pixel_values"), None, inputs)


def training_example(
    problem: Problem, instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> Example:
    """Prompt, thought, answer and end of turn, as the model sees and generates them.

    A problem without a thought gets no instruction, so that the model still answers plain questions directly.
    """
    ((prompt_ids, target_ids),) = training_ids([problem], instruction, tokenizer)
    is_target = (False,) * len(prompt_ids) + (True,) * len(target_ids)
    return Example((*prompt_ids, *target_ids), is_target)


def training_ids(
    problems: Sequence[Problem],
    instruction: str | None,
    tokenizer: PreTrainedTokenizerBase,
    thoughts: bool = True,
) -> list[tuple[list[int], list[int]]]:
    """Prompt ids and target ids of many problems at once, because a tokenizer then uses all cores.

    Without `thoughts` the prompts are the same, and the replies are answers alone.

    The two are encoded separately, as in generation, so that no token spans the start of the reply.
    """
    texts = [
        text for problem in problems for text in _training_texts(problem, instruction, tokenizer, thoughts)
    ]
    ids = encode_texts(texts, tokenizer)
    return list(zip(ids[::2], ids[1::2], strict=True))


def encode_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [_encode_text(text, tokenizer) for text in texts]
    backend.no_padding()  # the tokenizer's file may enable either
    backend.no_truncation()
    # Several times faster than the tokenizer's own call, because it tracks no offsets.
    return [one.ids for one in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def _training_texts(
    problem: Problem, instruction: str | None, tokenizer: PreTrainedTokenizerBase, thoughts: bool
) -> tuple[str, str]:
    if problem.pictures:
        raise ValueError(f"problem {problem.id} has an image: training is text-only, use its text view")
    prompt = problem_prompt(problem, instruction if problem.reasoning else None)
    written = written_reply(problem) if thoughts else write_answer(stated_answer(problem))
    reply = Message("assistant", (written,))
    rendered = _render(prompt.messages, tokenizer, opens_reply=True)
    target = _reply_part(rendered, _render((*prompt.messages, reply), tokenizer, opens_reply=False))
    if thoughts and problem.reasoning and THINK_CLOSE not in target:
        raise ValueError(
            "the chat template removes the thought from the assistant's turn; use one that keeps it"
        )
    return rendered, target


def written_reply(problem: Problem) -> str:
    """The thought and the answer, or only the answer if there is no thought."""
    answer = stated_answer(problem)
    return write_thought(problem.reasoning, answer) if problem.reasoning else write_answer(answer)


def stated_answer(problem: Problem) -> str:
    """The answer between the tags; an option has its letter, `B: No`."""
    if problem.kind != "choice":
        return problem.answer
    letter = problem.answer.strip().upper()
    index = OPTION_LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= index < len(problem.choices):
        raise ValueError(f"problem {problem.id}: the answer {problem.answer!r} is not the letter of a choice")
    return f"{letter}: {problem.choices[index]}"


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends the assistant's turn in the chat template, or None if that is plain text."""
    turns = (Message("user", ("?",)), Message("assistant", (_REPLY,)))
    ending = _render(turns, tokenizer, opens_reply=False).rpartition(_REPLY)[2]
    ids = _encode_text(ending.strip(), tokenizer)
    return ids[0] if ids and ids[0] in special_ids(tokenizer) else None


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that are not text: turn and vision tokens, padding, unknown."""
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added) | frozenset(tokenizer.all_special_ids)


def _option_lines(problem: Problem) -> tuple[str, ...]:
    if problem.choices_in_picture:
        return ()
    if len(problem.choices) > len(OPTION_LETTERS):
        raise ValueError(
            f"problem {problem.id} has {len(problem.choices)} choices; the limit is 26, one per letter"
        )
    return option_lines(problem.choices)


def option_lines(choices: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"\n{letter}: {choice}" for letter, choice in zip(OPTION_LETTERS, choices, strict=False))


def _render(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, opens_reply: bool) -> str:
    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template; use an instruction-tuned model")
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
    """Templates of language models take a string; some of VLMs iterate over parts and drop a string."""
    probe = [{"role": "user", "content": "probe"}]
    return "probe" in str(tokenizer.apply_chat_template(probe, tokenize=False))


@lru_cache(maxsize=16)
def _placeholder(tokenizer: PreTrainedTokenizerBase) -> tuple[str, int]:
    """The one its template writes; id -1 if there is none, then no text contains it."""
    added = {token.content: i for i, token in tokenizer.added_tokens_decoder.items()}
    known = [name for name in PLACEHOLDERS if name in added]
    if not known or tokenizer.chat_template is None:
        return PLACEHOLDERS[0], -1
    image: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}]}]
    written = str(tokenizer.apply_chat_template(image, tokenize=False)) if len(known) > 1 else ""
    name = next((name for name in known if name in written), known[0])
    return name, added[name]


def _reply_part(prompt: str, whole: str) -> str:
    if not whole.startswith(prompt):
        raise ValueError(
            "the chat template changes the prompt once there is a reply, so the reply cannot be separated; "
            "use a template whose full conversation begins with the generation prompt"
        )
    # Text after the end of turn (a line break) belongs to the next message.
    return whole[len(prompt) :].rstrip()


def _encode_text(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def readable(prompt_id: str, read: Callable[[], T]) -> T:
    """Images may be truncated, far too large, or a thousand times as wide as high."""
    try:
        return read()
    except (OSError, ValueError) as error:
        raise PromptError(f"prompt {prompt_id}: an image cannot be read: {error}") from None


def open_picture(picture: Picture) -> Image.Image:
    return open_image(picture.encoded).convert("RGB")


def _expand(ids: Sequence[int], placeholder: int, counts: Sequence[int]) -> tuple[int, ...]:
    remaining = iter(counts)
    return tuple(
        copy for token in ids for copy in ([token] * next(remaining) if token == placeholder else [token])
    )
