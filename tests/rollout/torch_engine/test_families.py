"""Other model families, whose greedy text must equal that of `generate`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine

PLAIN = Sampling(think_budget=0, answer_budget=16, forced_exit=False)
SHAPE: dict[str, Any] = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "pad_token_id": None,
}


def assert_equals_generate(loaded: Loaded, prompts: list[Prompt]) -> None:
    engine = TorchEngine(loaded, 3)
    written = {rollout.prompt_id: list(rollout.token_ids) for rollout in engine.generate(prompts, PLAIN)}
    for prompt in prompts:
        encoded = encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
        ids = torch.tensor([encoded.ids])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if encoded.pixel_values is not None:
            inputs["pixel_values"], inputs["image_grid_thw"] = encoded.pixel_values, encoded.image_grid_thw
            inputs["mm_token_type_ids"] = (ids == loaded.model.config.image_token_id).int()
        expected = loaded.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=PLAIN.answer_budget,
            suppress_tokens=sorted(engine.special_tokens.banned),
            eos_token_id=sorted(engine.special_tokens.stops),
            pad_token_id=0,
        )
        assert written[prompt.id] == expected[0, ids.shape[1] :].tolist()


LANGUAGE_MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(head_dim=16, **SHAPE)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(head_dim=16, **SHAPE)),
}


@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_language_models(
    family: str, text_loaded: Loaded, text_prompts: list[Prompt], shake: Callable[[PreTrainedModel], Any]
) -> None:
    model = shake(LANGUAGE_MODELS[family]())
    assert_equals_generate(Loaded(model, text_loaded.tokenizer, None), text_prompts[:6])


def qwen2_vl(marks: dict[str, int]) -> tuple[PreTrainedModel, int]:
    rope = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [1, 1, 2]}
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    text = {"rope_parameters": rope, **SHAPE}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **marks)
    return Qwen2VLForConditionalGeneration(config), 14


def qwen3_vl(marks: dict[str, int]) -> tuple[PreTrainedModel, int]:
    rope = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [3, 3, 2]}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 16,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0, 1],
    }
    text = {"rope_parameters": rope, "head_dim": 16, **SHAPE}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **marks)
    return Qwen3VLForConditionalGeneration(config), 16


@pytest.mark.parametrize("build", [qwen2_vl, qwen3_vl])
def test_vision_language_models(
    build: Callable[[dict[str, int]], tuple[PreTrainedModel, int]],
    vlm_loaded: Loaded,
    mixed_prompts: list[Prompt],
    shake: Callable[[PreTrainedModel], Any],
) -> None:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    model, patch = build({name: getattr(vlm_loaded.model.config, name) for name in names})
    size = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 64 * (2 * patch) ** 2}
    processor = Qwen2VLImageProcessorPil(size=size, patch_size=patch)
    assert_equals_generate(Loaded(shake(model), vlm_loaded.tokenizer, processor), mixed_prompts)


def test_a_window_shorter_than_the_text_is_refused(
    text_loaded: Loaded, text_prompts: list[Prompt], shake: Callable[[PreTrainedModel], Any]
) -> None:
    model = shake(MistralForCausalLM(MistralConfig(sliding_window=8, **SHAPE)))
    with pytest.raises(ValueError, match="windows"):
        list(TorchEngine(Loaded(model, text_loaded.tokenizer, None)).generate(text_prompts, PLAIN))
