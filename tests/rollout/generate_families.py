"""Tiny models of families whose images only their own processor reads, saved as they are published."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from tests.models.kinds import FURTHER
from tests.rollout.pictures import asked, picture
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedTokenizerFast

from xreasoner.chat.template import open_picture
from xreasoner.models.load import load
from xreasoner.records import Picture, Sampling
from xreasoner.rollout.engine import Engine

WORDS = 50
GREEDY = Sampling(think_budget=0, answer_budget=10, forced_exit=False)


def made(module: str, name: str, **settings: Any) -> Any:
    """A class of transformers that is imported only where it is used: some need torchvision."""
    return getattr(importlib.import_module(f"transformers.models.{module}"), name)(**settings)


class Pictured(NamedTuple):
    """The name of a family is that of its kind in `tests/models/kinds.py`."""

    processor: Callable[[PreTrainedTokenizerFast], Any]
    placeholder: str
    marks: Mapping[str, str]
    """Further tokens that its processor writes, by the names under which it knows them."""
    ids: Mapping[str, str] = MappingProxyType({})
    """Settings of the model that are the id of a token."""
    spread: float = 0.1
    """Of what is added to the first weights, so that texts differ."""
    wants_torchvision: bool = False


def idefics2(tokenizer: PreTrainedTokenizerFast) -> Any:
    size = {"shortest_edge": 16, "longest_edge": 32}
    module, name = "idefics2.image_processing_pil_idefics2", "Idefics2ImageProcessorPil"
    images = made(module, name, size=size, do_image_splitting=False)
    return made("idefics2", "Idefics2Processor", image_processor=images, tokenizer=tokenizer, image_seq_len=4)


def paligemma(tokenizer: PreTrainedTokenizerFast) -> Any:
    images = made("siglip.image_processing_pil_siglip", "SiglipImageProcessorPil", size=SQUARE)
    images.image_seq_length = 16
    return made("paligemma", "PaliGemmaProcessor", image_processor=images, tokenizer=tokenizer)


def mllama(tokenizer: PreTrainedTokenizerFast) -> Any:
    module, name = "mllama.image_processing_pil_mllama", "MllamaImageProcessorPil"
    images = made(module, name, size=SQUARE, max_image_tiles=4)
    return made("mllama", "MllamaProcessor", image_processor=images, tokenizer=tokenizer)


def cohere2_vision(tokenizer: PreTrainedTokenizerFast) -> Any:
    images = made("cohere2_vision", "Cohere2VisionImageProcessor", size=SQUARE, max_patches=4, patch_size=2)
    return made("cohere2_vision", "Cohere2VisionProcessor", image_processor=images, tokenizer=tokenizer)


def lfm2_vl(tokenizer: PreTrainedTokenizerFast) -> Any:
    tokens = {"min_image_tokens": 2, "max_image_tokens": 8, "max_tiles": 4, "max_num_patches": 32}
    images = made("lfm2_vl", "Lfm2VlImageProcessor", encoder_patch_size=4, tile_size=16, **tokens)
    return made("lfm2_vl", "Lfm2VlProcessor", image_processor=images, tokenizer=tokenizer)


def llama4(tokenizer: PreTrainedTokenizerFast) -> Any:
    images = made("llama4", "Llama4ImageProcessor", size=SQUARE, max_patches=4)
    return made("llama4", "Llama4Processor", image_processor=images, tokenizer=tokenizer, patch_size=4)


def gemma4(tokenizer: PreTrainedTokenizerFast) -> Any:
    size = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}
    parts = {
        "image_processor": made("gemma4", "Gemma4ImageProcessor", **size),
        "video_processor": made("gemma4", "Gemma4VideoProcessor", **size),
        "feature_extractor": made("gemma4", "Gemma4AudioFeatureExtractor"),
    }
    return made("gemma4", "Gemma4Processor", tokenizer=tokenizer, **parts)


SQUARE = {"height": 16, "width": 16}
TILES = tuple(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5))
PICTURED: dict[str, Pictured] = {
    "idefics2": Pictured(idefics2, "<image>", {"image_boundary_token": "<fake_token_around_image>"}),
    "paligemma": Pictured(paligemma, "<image>", {}),
    "mllama": Pictured(
        mllama, "<|image|>", {"python": "<|python_tag|>"}, {"image_token_index": "<|image|>"}, spread=0.4
    ),
    "cohere2_vision": Pictured(
        cohere2_vision,
        "<|IMG_PATCH|>",
        {
            "boi_token": "<|START_OF_IMG|>",
            "eoi_token": "<|END_OF_IMG|>",
            "img_line_break_token": "<|IMG_LINE_BREAK|>",
        },
        spread=0.3,
        wants_torchvision=True,
    ),
    "lfm2_vl": Pictured(
        lfm2_vl,
        "<image>",
        {
            "start": "<|image_start|>",
            "end": "<|image_end|>",
            "thumbnail": "<|img_thumbnail|>",
            **{f"tile_{number}": tile for number, tile in enumerate(TILES)},
        },
        spread=0.3,
        wants_torchvision=True,
    ),
    "llama4": Pictured(
        llama4,
        "<|image|>",
        {
            "start": "<|image_start|>",
            "end": "<|image_end|>",
            "patch": "<|patch|>",
            "x": "<|tile_x_separator|>",
            "y": "<|tile_y_separator|>",
        },
        {
            "image_token_index": "<|patch|>",
            "image_token_id": "<|patch|>",
            "boi_token_index": "<|image_start|>",
            "eoi_token_index": "<|image_end|>",
        },
        wants_torchvision=True,
    ),
    "gemma4": Pictured(
        gemma4,
        "<|image|>",
        {
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "video_token": "<|video|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
        {
            "boi_token_id": "<|image>",
            "eoi_token_id": "<image|>",
            "video_token_id": "<|video|>",
            "audio_token_id": "<|audio|>",
        },
        spread=0.2,
        wants_torchvision=True,
    ),
}


def tokenizer_of(one: Pictured) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w3"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="w1", eos_token="w2", pad_token="w0", unk_token="w3",
        extra_special_tokens={"image_token": one.placeholder, **one.marks},
    )  # fmt: skip
    marks = [AddedToken(mark, normalized=False) for mark in (one.placeholder, *one.marks.values())]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = (
        "{% for message in messages %}{{ 'w6 ' if message.role == 'assistant' else 'w4 ' }}"
        "{% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{% if part.type == 'image' %}" + one.placeholder + "{% else %}"
        "{{ part.text }}{% endif %}{% endfor %}{% endif %} w5 {% endfor %}"
        "{% if add_generation_prompt %}w6 {% endif %}"
    )
    return tokenizer


def save_family(name: str, folder: Path) -> None:
    one = PICTURED[name]
    tokenizer = tokenizer_of(one)
    processor = one.processor(tokenizer)
    settings = FURTHER[name]()
    settings["image_token_id"] = tokenizer.convert_tokens_to_ids(one.placeholder)
    settings |= {key: tokenizer.convert_tokens_to_ids(token) for key, token in one.ids.items()}
    settings["text_config"] |= {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(
        AutoConfig.for_model(settings.pop("model_type"), **settings)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(one.spread * torch.randn_like(parameter))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


PROMPTS = (
    asked("one", picture(1, 40, 20), " w10 w11"),
    asked("other", picture(4, 16, 40), " w10 w11"),
    asked("words", "w12 w13 w14"),
    asked("two", picture(2, 16, 16), " w16 ", picture(3, 20, 30), " w17 w18 w19"),
)


def assert_answers_as_generate(engine: Engine, folder: Path) -> None:
    """Greedy text; `generate` is called as the models' own pages show it."""
    loaded, processor = load(folder, dtype=torch.float32), AutoProcessor.from_pretrained(folder)
    special = engine._decoder.special_tokens  # type: ignore[attr-defined]
    found = {one.prompt_id: one for one in engine.generate(PROMPTS, GREEDY)}
    for prompt in PROMPTS:
        parts = prompt.messages[0].parts
        content = [
            {"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part}
            for part in parts
        ]
        text = loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        images = [open_picture(part) for part in parts if isinstance(part, Picture)]
        read = {"text": [text], "add_special_tokens": False, "return_tensors": "pt"}
        inputs = processor(images=[images], **read) if images else loaded.tokenizer(**read)
        written = loaded.model.generate(
            **(inputs.to(loaded.model.dtype) if images else inputs),
            do_sample=False,
            max_new_tokens=GREEDY.answer_budget,
            suppress_tokens=sorted(special.banned),
            eos_token_id=sorted(special.stops),
            pad_token_id=0,
        )
        assert not found[prompt.id].trouble, found[prompt.id].trouble
        assert list(found[prompt.id].token_ids) == written[0, inputs["input_ids"].shape[1] :].tolist()
    first, second = (found[name].logprobs[0] for name in ("one", "other"))
    assert abs(first - second) > 1e-4, "the picture matters"
