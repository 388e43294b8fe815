"""Small random models whose greedy text varies, and prompts of many lengths."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.models.load import Loaded
from xreasoner.records import Message, Part, Picture, Prompt

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role + ' ' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)
TEXT_CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
PADDED_VOCABULARY = 80
"""More rows than the tokenizer has tokens, as in the released checkpoints."""


def finish_tokenizer(backend: Tokenizer, tags_are_tokens: bool) -> PreTrainedTokenizerFast:
    if tags_are_tokens:
        backend.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    marks = (*SPECIAL, *VISION)
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tag is one token."""
    words = ("system", "user", "assistant", ">", *(f"w{i}" for i in range(46)))
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return finish_tokenizer(backend, tags_are_tokens=True)


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """A tag is spelled letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz <>/.\n"
    backend = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="."))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return finish_tokenizer(backend, tags_are_tokens=False)


def with_lively_weights(model: PreTrainedModel, spread: float = 0.3) -> PreTrainedModel:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, spread)
    return model.eval()


def new_text_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = Qwen2Config(vocab_size=PADDED_VOCABULARY, eos_token_id=tokenizer.eos_token_id, **TEXT_CONFIG)
    return with_lively_weights(Qwen2ForCausalLM(config))


def new_vlm(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VISION))
    rope = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [1, 1, 2]}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": PADDED_VOCABULARY,
            "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": rope,
            **TEXT_CONFIG,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": TEXT_CONFIG["hidden_size"],
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=False,
    )
    return with_lively_weights(Qwen2_5_VLForConditionalGeneration(config))


@pytest.fixture(scope="session")
def text_loaded() -> Loaded:
    tokenizer = word_tokenizer()
    return Loaded(new_text_model(tokenizer), tokenizer, None)


@pytest.fixture(scope="session")
def letter_loaded() -> Loaded:
    tokenizer = letter_tokenizer()
    return Loaded(new_text_model(tokenizer), tokenizer, None)


@pytest.fixture(scope="session")
def vlm_loaded() -> Loaded:
    tokenizer = word_tokenizer()
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64}
    return Loaded(new_vlm(tokenizer), tokenizer, Qwen2VLImageProcessorPil(size=size))


@pytest.fixture(scope="session")
def ask() -> Callable[..., Prompt]:
    def prompt(name: str, *parts: Part) -> Prompt:
        return Prompt(name, (Message("user", parts),))

    return prompt


@pytest.fixture(scope="session")
def draw_picture() -> Callable[[int, int, int], Picture]:
    """Noise, `columns` x `rows` visual tokens large."""

    def picture(columns: int, rows: int, seed: int) -> Picture:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (28 * rows, 28 * columns, 3), generator=generator, dtype=torch.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels.numpy()).save(file, "PNG")
        return Picture(file.getvalue())

    return picture


@pytest.fixture(scope="session")
def text_prompts(ask: Callable[..., Prompt]) -> list[Prompt]:
    def words(i: int) -> Iterator[str]:
        return (f"w{(7 * i + 3 * j) % 46}" for j in range(1 + 5 * i % 17))

    return [ask(f"text {i}", " ".join(words(i))) for i in range(10)]


@pytest.fixture(scope="session")
def mixed_prompts(
    ask: Callable[..., Prompt], draw_picture: Callable[[int, int, int], Picture], text_prompts: list[Prompt]
) -> list[Prompt]:
    """Text alone, a picture first, last, between, and two pictures."""
    wide, tall, large = draw_picture(4, 1, 1), draw_picture(1, 3, 2), draw_picture(3, 2, 3)
    pictured = [
        ask("first", wide, " w1 w2"),
        ask("last", "w3 w4 w5 ", tall),
        ask("between", "w6 ", large, " w7"),
        ask("two", "w8 ", tall, " w9 ", large, " w10 w11 w12"),
        ask("adjacent", large, wide, " w13"),
    ]
    return [prompt for pair in zip(text_prompts, pictured, strict=False) for prompt in pair]


@pytest.fixture(scope="session")
def opening_loaded(text_loaded: Loaded) -> Loaded:
    """A chat template that opens the thought in the prompt."""
    tokenizer = word_tokenizer()
    tokenizer.chat_template = TEMPLATE.replace("assistant {% endif", "assistant <think> {% endif")
    return replace(text_loaded, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def shake() -> Callable[[PreTrainedModel], PreTrainedModel]:
    return with_lively_weights
