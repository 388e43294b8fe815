"""The tokens an engine must know: those that end a turn, that may end a tag, and that are never sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    AutoConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from xreasoner.chat.template import end_of_turn_id, special_ids
from xreasoner.chat.think import (
    ANSWER_CLOSE,
    ANSWER_EXIT,
    ANSWER_OPEN,
    FORCED_EXIT,
    THINK_CLOSE,
    THINK_OPEN,
)
from xreasoner.models.load import load_tokenizer
from xreasoner.rollout.forced_exit import ExitTokens

_VISION_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_VISION_TOKENS_ELSEWHERE = ("image_token_index", "video_token_index", "boi_token_index", "eoi_token_index")


@dataclass(frozen=True)
class SpecialTokens:
    stops: frozenset[int]
    banned: frozenset[int]
    may_end_tag: frozenset[int]
    """Tokens that contain `>`: no other token can complete a tag."""
    exits: ExitTokens


@dataclass(frozen=True)
class TokenDecoder:
    """Reads token ids without the model's weights, for engines that keep the weights elsewhere."""

    tokenizer: PreTrainedTokenizerBase
    special_tokens: SpecialTokens

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def read_token_decoder(checkpoint: Path) -> TokenDecoder:
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    tokenizer = load_tokenizer(checkpoint)
    has_file = (checkpoint / "generation_config.json").is_file()
    # This is what transformers does when it loads the model.
    generation = (
        GenerationConfig.from_pretrained(checkpoint)
        if has_file
        else GenerationConfig.from_model_config(config)
    )
    return TokenDecoder(tokenizer, special_tokens_of(config, generation, tokenizer))


def read_special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    return special_tokens_of(model.config, model.generation_config, tokenizer)


def special_tokens_of(
    config: PreTrainedConfig, generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> SpecialTokens:
    stops = _stops(config, generation, tokenizer)
    tags = {i for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE) for i in _ids(tag, tokenizer)}
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return SpecialTokens(
        stops=stops,
        banned=_not_text(config, tokenizer) - stops - tags,
        may_end_tag=frozenset(i for i, piece in enumerate(pieces) if piece is not None and ">" in piece),
        exits=ExitTokens(tuple(_ids(FORCED_EXIT, tokenizer)), tuple(_ids(ANSWER_EXIT, tokenizer))),
    )


def _stops(
    config: PreTrainedConfig, generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    listed = generation.eos_token_id if generation is not None else None
    from_config = set(listed) if isinstance(listed, list) else {listed}
    stops = {*from_config, tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    # A config that does not set eos_token_id holds its family's default, which may exceed a small vocabulary.
    return frozenset(stops & set(range(config.get_text_config().vocab_size)))


def _not_text(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Vision placeholders, other special tokens, and the rows that pad the embedding to a round size."""
    marks = (getattr(config, name, None) for name in (*_VISION_TOKENS, *_VISION_TOKENS_ELSEWHERE))
    padding = range(len(tokenizer), config.get_text_config().vocab_size)
    return special_ids(tokenizer).union(padding, (mark for mark in marks if mark is not None))


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
