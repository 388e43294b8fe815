"""Other model families, whose greedy text must equal that of `generate`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests.models.kinds import FURTHER
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.special_tokens import read_special_tokens
from xreasoner.rollout.torch_engine import attention
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


def assert_equals_generate(
    loaded: Loaded,
    prompts: list[Prompt],
    sampling: Sampling = PLAIN,
    reference: str | None = None,
    engine: Engine | None = None,
) -> None:
    """`reference`: the attention that `generate` uses."""
    engine = engine or TorchEngine(loaded, 3)
    special = read_special_tokens(loaded.model, loaded.tokenizer)
    written = {rollout.prompt_id: list(rollout.token_ids) for rollout in engine.generate(prompts, sampling)}
    if reference is not None:
        loaded.model.set_attn_implementation(reference)
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
            max_new_tokens=sampling.answer_budget,
            suppress_tokens=sorted(special.banned),
            eos_token_id=sorted(special.stops),
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


def further(kind: str, marks: dict[str, int]) -> tuple[PreTrainedModel, int]:
    settings = FURTHER[kind]() | marks
    settings["text_config"]["vocab_size"] = SHAPE["vocab_size"]
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    return AutoModelForImageTextToText.from_config(config), config.vision_config.patch_size


@pytest.mark.parametrize(
    "build", [qwen2_vl, qwen3_vl, partial(further, "glm4v"), partial(further, "qwen3_vl_moe")]
)
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


WINDOW = 8
LONGER_THAN_THE_WINDOW = Sampling(think_budget=0, answer_budget=40, forced_exit=False)
WINDOWED: dict[str, Callable[[], PreTrainedModel]] = {
    "mistral": lambda: MistralForCausalLM(MistralConfig(sliding_window=WINDOW, **SHAPE)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            head_dim=16,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
            **SHAPE,
        )
    ),
    "gemma2 with soft caps": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            head_dim=16,
            sliding_window=WINDOW,
            attn_logit_softcapping=0.5,
            final_logit_softcapping=3.0,
            layer_types=["sliding_attention", "full_attention"],
            **SHAPE,
        )
    ),
    "gpt-oss with sinks": lambda: GptOssForCausalLM(
        GptOssConfig(
            head_dim=16,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
            num_local_experts=2,
            num_experts_per_tok=1,
            **SHAPE,
        )
    ),
}


@pytest.mark.parametrize("family", WINDOWED)
def test_windows_sinks_and_soft_caps(
    family: str,
    text_loaded: Loaded,
    ask: Callable[..., Prompt],
    shake: Callable[[PreTrainedModel], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prompts of 4 to 31 tokens and answers of 40, so that both are shorter and longer than the window."""
    monkeypatch.setattr(attention, "_QUERY_CHUNK", 5)
    model = shake(WINDOWED[family]())
    if hasattr(model.model.layers[0].self_attn, "sinks"):
        for layer in model.model.layers:
            layer.self_attn.sinks.data.normal_(1.0, 1.0)
    prompts = [ask(f"p{n}", " ".join(f"w{(n * j) % 46}" for j in range(n))) for n in (1, 3, 5, 9, 14, 28)]
    loaded = Loaded(model, text_loaded.tokenizer, None)
    assert_equals_generate(loaded, prompts, LONGER_THAN_THE_WINDOW, reference="eager")


@pytest.mark.parametrize("family", WINDOWED)
def test_the_window_matters(
    family: str, text_loaded: Loaded, ask: Callable[..., Prompt], shake: Callable[[PreTrainedModel], Any]
) -> None:
    """The test above would fail if the engine ignored windows."""
    model = shake(WINDOWED[family]())
    ids = torch.tensor([[(7 * j) % 46 for j in range(30)]])
    with torch.no_grad():
        windowed = model(ids).logits[0, -1]
        for config in {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values():
            config.sliding_window = 1000
        for module in model.modules():
            if getattr(module, "sliding_window", None):
                module.sliding_window = 1000
        assert not torch.allclose(windowed, model(ids).logits[0, -1], atol=1e-3)


STATEFUL: dict[str, Callable[[], PreTrainedModel]] = {
    "mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=80,
            hidden_size=32,
            num_hidden_layers=1,
            num_heads=4,
            head_dim=16,
            n_groups=1,
            state_size=8,
        )
    ),
    "lfm2": lambda: Lfm2ForCausalLM(Lfm2Config(layer_types=["conv", "full_attention"], **SHAPE)),
    "qwen3_next": lambda: Qwen3NextForCausalLM(
        Qwen3NextConfig(
            layer_types=["linear_attention", "full_attention"], num_experts=2, num_experts_per_tok=1, **SHAPE
        )
    ),
}


@pytest.mark.parametrize("family", STATEFUL)
def test_a_model_with_a_recurrent_state_is_one_line(family: str, text_loaded: Loaded) -> None:
    with pytest.raises(
        ValueError, match=rf"^{family}: the torch engine does not support .*; use engine vllm or server$"
    ):
        TorchEngine(Loaded(STATEFUL[family](), text_loaded.tokenizer, None))
