"""Text token by token is the text of all tokens, also where a character takes several of them."""

from itertools import pairwise

import pytest
from tests.rollout.conftest import word_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xreasoner.serve.incremental_decoder import IncrementalDecoder

TEXT = "Größe 3 µm 🩺 日本 ok"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte a token."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(sorted(alphabet))}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def follow(tokenizer: PreTrainedTokenizerBase, ids: list[int], before: int = 0) -> list[str]:
    decoder, texts = IncrementalDecoder(tokenizer, ids[:before]), []
    for token in ids[before:]:
        decoder.add(token)
        texts.append(decoder.text)
    decoder.finish()
    return [*texts, decoder.text]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_character_is_emitted_only_when_complete(cut: int) -> None:
    """Cut within the stethoscope, what is left of it shows as unreadable, as it does when all is decoded."""
    tokenizer = byte_tokenizer()
    ids = tokenizer(TEXT)["input_ids"]
    ids = ids[: len(TEXT.split("🩺")[0].encode()) + cut]
    *growing, whole = follow(tokenizer, ids)
    assert whole == tokenizer.decode(ids)
    assert all(TEXT.startswith(text) for text in growing)


def test_each_text_is_a_prefix_of_the_next() -> None:
    tokenizer = byte_tokenizer()
    texts = follow(tokenizer, tokenizer(TEXT)["input_ids"])
    assert texts[-1] == TEXT
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


@pytest.mark.parametrize("before", [0, 1, 5, 20])
def test_spaces_survive_at_the_boundary(before: int) -> None:
    tokenizer = word_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(["<think>", *(f"w{i}" for i in range(30)), "</think>"])
    given = tokenizer.decode(ids[:before])
    assert given + follow(tokenizer, ids, before)[-1] == tokenizer.decode(ids)
