"""What the engine must know of a vocabulary: where a turn ends, what is never sampled, what may end a tag."""

from dataclasses import dataclass

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.chat.template import end_of_turn_id, special_ids
from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, FORCED_EXIT, THINK_CLOSE, THINK_OPEN

_VISION_MARKS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_VISION_MARKS_ELSEWHERE = ("image_token_index", "video_token_index", "boi_token_index", "eoi_token_index")


@dataclass(frozen=True)
class Vocabulary:
    stops: frozenset[int]
    banned: frozenset[int]
    may_end_tag: frozenset[int]
    """Tokens that hold a `>`: after any other no tag can have been completed."""
    forced_exit: tuple[int, ...]


def read_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    return vocabulary_of(model.config, model.generation_config, tokenizer)


def vocabulary_of(
    config: PreTrainedConfig, generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> Vocabulary:
    stops = _stops(config, generation, tokenizer)
    tags = {i for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE) for i in _ids(tag, tokenizer)}
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return Vocabulary(
        stops=stops,
        banned=_no_text(config, tokenizer) - stops - tags,
        may_end_tag=frozenset(i for i, piece in enumerate(pieces) if piece is not None and ">" in piece),
        forced_exit=tuple(_ids(FORCED_EXIT, tokenizer)),
    )


def _stops(
    config: PreTrainedConfig, generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    listed = generation.eos_token_id if generation is not None else None
    from_config = set(listed) if isinstance(listed, list) else {listed}
    stops = {*from_config, tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    # A config made without a word about it holds its family's default, which a small vocabulary has not.
    return frozenset(stops & set(range(config.get_text_config().vocab_size)))


def _no_text(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Vision places and other marks, and the rows that only pad the embedding to a round size."""
    marks = (getattr(config, name, None) for name in (*_VISION_MARKS, *_VISION_MARKS_ELSEWHERE))
    padding = range(len(tokenizer), config.get_text_config().vocab_size)
    return special_ids(tokenizer).union(padding, (mark for mark in marks if mark is not None))


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
