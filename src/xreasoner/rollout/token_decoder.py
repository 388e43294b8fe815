"""What the tokens of a checkpoint mean, read without its weights: for engines that hold these themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from xreasoner.models.load import load_tokenizer
from xreasoner.rollout.vocabulary import Vocabulary, vocabulary_of


@dataclass(frozen=True)
class Speech:
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary

    def read(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def read_speech(checkpoint: Path) -> Speech:
    config, tokenizer = AutoConfig.from_pretrained(checkpoint), load_tokenizer(checkpoint)
    has_file = (checkpoint / "generation_config.json").is_file()
    # As transformers does it for a model that it opens.
    generation = (
        GenerationConfig.from_pretrained(checkpoint)
        if has_file
        else GenerationConfig.from_model_config(config)
    )
    return Speech(tokenizer, vocabulary_of(config, generation, tokenizer))
