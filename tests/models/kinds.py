"""Settings of tiny vision-language models, by family and text tower."""

from collections.abc import Callable
from typing import Any

from transformers import CONFIG_MAPPING

VOCABULARY = 64
IMAGE_TOKEN = 60
MARKS = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": 61,
    "vision_start_token_id": 62,
    "vision_end_token_id": 63,
}


def text(model_type: str, **extra: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "rms_norm_eps": 3e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 777.0},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return common | extra


def vision(model_type: str, **extra: Any) -> dict[str, Any]:
    common = {
        "model_type": model_type,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
    }
    return common | extra


def qwen_vision(model_type: str, **extra: Any) -> dict[str, Any]:
    common = {"model_type": model_type, "depth": 2, "num_heads": 2, "patch_size": 4}
    return common | extra


def sectioned_rope(**extra: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 777.0, "mrope_section": [2, 1, 1]} | extra


def qwen2_vl(**extra: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2_vl",
        "text_config": text("qwen2_vl_text", rope_parameters=sectioned_rope()),
        "vision_config": qwen_vision("qwen2_vl_vision", embed_dim=16, hidden_size=32, mlp_ratio=2),
        **MARKS,
        **extra,
    }


def qwen2_5_vl(**extra: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_vl",
        "text_config": text("qwen2_5_vl_text", rope_parameters=sectioned_rope()),
        "vision_config": qwen_vision(
            "qwen2_5_vl_vision",
            hidden_size=16,
            intermediate_size=24,
            out_hidden_size=32,
            window_size=16,
            fullatt_block_indexes=[1],
        ),
        **MARKS,
        **extra,
    }


def qwen3_vl(**extra: Any) -> dict[str, Any]:
    rope = sectioned_rope(mrope_interleaved=True)
    return {
        "model_type": "qwen3_vl",
        "text_config": text("qwen3_vl_text", rope_parameters=rope),
        "vision_config": qwen_vision(
            "qwen3_vl_vision",
            hidden_size=16,
            intermediate_size=24,
            out_hidden_size=32,
            num_position_embeddings=16,
            deepstack_visual_indexes=[0, 1],
        ),
        **MARKS,
        **extra,
    }


def with_tower(model_type: str, tower: dict[str, Any], sight: dict[str, Any], **extra: Any) -> dict[str, Any]:
    base = {"model_type": model_type, "text_config": tower, "vision_config": sight}
    return base | {"image_token_id": IMAGE_TOKEN} | extra


def llava(tower: str, **extra: Any) -> dict[str, Any]:
    return with_tower("llava", text(tower, **extra), vision("clip_vision_model"), image_seq_length=16)


def internvl(tower: str, tied: bool) -> dict[str, Any]:
    sight = vision("internvl_vision", image_size=[16, 16], patch_size=[4, 4])
    return with_tower("internvl", text(tower), sight, image_seq_length=4, tie_word_embeddings=tied)


def gemma3() -> dict[str, Any]:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 777.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 99.0},
    }
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    tower = text(
        "gemma3_text", rope_parameters=rope, layer_types=kinds, sliding_window=4, query_pre_attn_scalar=8
    )
    return with_tower("gemma3", tower, vision("siglip_vision_model"), mm_tokens_per_image=4)


def idefics(model_type: str, tied: bool) -> dict[str, Any]:
    sight = vision(f"{model_type}_vision")
    return with_tower(model_type, text("llama"), sight, scale_factor=2, tie_word_embeddings=tied)


def mistral3(tower: str) -> dict[str, Any]:
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 777.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
        "llama_4_scaling_beta": 0.1,
    }
    rope = {"rope_parameters": yarn} if tower == "ministral3" else {}
    sight = vision("pixtral", head_dim=8)
    return with_tower("mistral3", text(tower, **rope), sight, spatial_merge_size=2, tie_word_embeddings=False)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_vl-tied": lambda: qwen2_vl(tie_word_embeddings=True),
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_5_vl-tied": lambda: qwen2_5_vl(tie_word_embeddings=True),
    "qwen3_vl": qwen3_vl,
    "qwen3_vl-tied": lambda: qwen3_vl(tie_word_embeddings=True),
    "llava-llama": lambda: llava("llama"),
    "llava-qwen2-tied": lambda: llava("qwen2", tie_word_embeddings=True),
    "llava-mistral": lambda: llava("mistral"),
    "internvl-qwen2": lambda: internvl("qwen2", tied=False),
    "internvl-qwen3-tied": lambda: internvl("qwen3", tied=True),
    "internvl-llama": lambda: internvl("llama", tied=False),
    "gemma3": gemma3,
    "smolvlm": lambda: idefics("smolvlm", tied=False),
    "smolvlm-tied": lambda: idefics("smolvlm", tied=True),
    "idefics3": lambda: idefics("idefics3", tied=False),
    "mistral3-mistral": lambda: mistral3("mistral"),
    "mistral3-ministral3": lambda: mistral3("ministral3"),
}


def llava_next() -> dict[str, Any]:
    sight = vision("clip_vision_model")
    return with_tower("llava_next", text("mistral"), sight, image_grid_pinpoints=[[16, 32], [32, 16]])


def llava_onevision() -> dict[str, Any]:
    sight = vision("siglip_vision_model")
    pins = [[16, 32], [32, 16]]
    return with_tower("llava_onevision", text("qwen2"), sight, image_grid_pinpoints=pins)


def paligemma() -> dict[str, Any]:
    tower = text("gemma2", query_pre_attn_scalar=8, sliding_window=4, layer_types=None)
    sight = vision("siglip_vision_model", projection_dim=32, vision_use_head=False)
    return with_tower("paligemma", tower, sight, projection_dim=32)


def aya_vision() -> dict[str, Any]:
    tower = text("cohere2", logit_scale=0.25, sliding_window=4, layer_norm_eps=3e-5)
    del tower["rms_norm_eps"]
    return with_tower("aya_vision", tower, vision("siglip_vision_model"), adapter_layer_norm_eps=1e-6)


def ovis2() -> dict[str, Any]:
    sight = vision("", hidden_stride=2, vocab_size=40, num_visual_indicator_tokens=5)
    del sight["model_type"]
    ids = {"visual_indicator_token_ids": [50, 51, 52, 53, 54]}
    return with_tower("ovis2", text("qwen2"), sight, hidden_size=32, vocab_size=64, **ids)


def idefics2() -> dict[str, Any]:
    perceiver = {"hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
                 "resampler_head_dim": 8, "num_key_value_heads": 1}  # fmt: skip
    return with_tower(
        "idefics2", text("mistral"), vision("idefics2_vision"), perceiver_config=perceiver,
        tie_word_embeddings=False,
    )  # fmt: skip


def qwen3_5() -> dict[str, Any]:
    rope = sectioned_rope(mrope_interleaved=True, partial_rotary_factor=1.0)
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
              "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4}  # fmt: skip
    kinds = ["linear_attention", "linear_attention", "full_attention"]
    tower = text("qwen3_5_text", rope_parameters=rope, layer_types=kinds, **linear)
    sight = qwen_vision("qwen3_5", hidden_size=16, intermediate_size=24, out_hidden_size=32,
                        num_position_embeddings=16)  # fmt: skip
    del sight["model_type"]
    return {"model_type": "qwen3_5", "text_config": tower, "vision_config": sight, **MARKS}


def qwen3_vl_moe() -> dict[str, Any]:
    rope = sectioned_rope(mrope_interleaved=True)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    tower = text("qwen3_vl_moe_text", rope_parameters=rope, **experts)
    sight = qwen_vision("qwen3_vl_moe", hidden_size=16, intermediate_size=24, out_hidden_size=32,
                        num_position_embeddings=16, deepstack_visual_indexes=[0, 1])  # fmt: skip
    del sight["model_type"]
    return {"model_type": "qwen3_vl_moe", "text_config": tower, "vision_config": sight, **MARKS}


def qwen3_5_moe() -> dict[str, Any]:
    settings = qwen3_5()
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
               "shared_expert_intermediate_size": 16}  # fmt: skip
    settings["text_config"] |= {"model_type": "qwen3_5_moe_text", **experts}
    return settings | {"model_type": "qwen3_5_moe"}


def glm4v() -> dict[str, Any]:
    rope = {
        "rope_type": "default",
        "rope_theta": 777.0,
        "mrope_section": [1, 1, 0],
        "partial_rotary_factor": 0.5,
    }
    sight = {"depth": 2, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "image_size": 16,
             "out_hidden_size": 32, "intermediate_size": 24, "spatial_merge_size": 2}  # fmt: skip
    tower = text("glm4v_text", rope_parameters=rope)
    return {"model_type": "glm4v", "text_config": tower, "vision_config": sight, **MARKS,
            "image_start_token_id": 58, "image_end_token_id": 59}  # fmt: skip


def llama4() -> dict[str, Any]:
    tower = text("llama4_text", num_local_experts=2, num_experts_per_tok=1, intermediate_size_mlp=48,
                 attention_chunk_size=16, interleave_moe_layer_step=2, no_rope_layers=[1, 1, 0],
                 num_hidden_layers=3)  # fmt: skip
    sight = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
             "image_size": 16, "patch_size": 4, "vision_output_dim": 32, "projector_input_dim": 32,
             "projector_output_dim": 32, "pixel_shuffle_ratio": 0.5}  # fmt: skip
    return with_tower("llama4", tower, sight, boi_token_index=58, eoi_token_index=59)


def gemma4(**extra: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 777.0}
    tower = text("gemma4_text", hidden_size_per_layer_input=0, num_kv_shared_layers=0,
                 layer_types=["sliding_attention", "sliding_attention", "full_attention"],
                 sliding_window=4, global_head_dim=8,
                 rope_parameters={"full_attention": rope, "sliding_attention": rope}) | extra  # fmt: skip
    sight = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 2, "head_dim": 8, "patch_size": 4, "position_embedding_size": 64,
             "pooling_kernel_size": 2}  # fmt: skip
    return with_tower("gemma4", tower, sight, audio_config=None, boi_token_id=58, eoi_token_id=59)


def pixtral() -> dict[str, Any]:
    settings = llava("mistral")
    return settings | {"vision_config": vision("pixtral", head_dim=8), "vision_feature_layer": -1,
                       "vision_feature_select_strategy": "full"}  # fmt: skip


def cohere2_vision() -> dict[str, Any]:
    tower = text("cohere2", logit_scale=0.25, sliding_window=4, layer_norm_eps=3e-5)
    del tower["rms_norm_eps"]
    return with_tower("cohere2_vision", tower, vision("siglip_vision_model"), alignment_intermediate_size=64)


def lfm2_vl() -> dict[str, Any]:
    tower = text("lfm2", layer_types=["conv", "full_attention", "conv"], conv_L_cache=3, norm_eps=1e-5)
    return with_tower(
        "lfm2_vl", tower, vision("siglip2_vision_model", num_patches=16), projector_hidden_size=32
    )


def qwen4_exp() -> dict[str, Any]:
    settings = qwen3_5_moe()
    kinds = ["linear_attention", "linear_attention", "full_attention"]
    indexer = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8,
               "indexer_compress_ratio": 2}  # fmt: skip
    ngrams = {"ple_layer_ids": [1], "heads_per_ngram": 2, "ngram_vocab_size_base": 64, "hc_lowrank": 8,
              "make_ngram_vocab_size_divisible_by": 8, "split_ngram_parts": 2}  # fmt: skip
    settings["text_config"] |= {"model_type": "qwen4_exp_text", "layer_types": kinds, **indexer, **ngrams}
    return settings | {"model_type": "qwen4_exp"}


def mllama() -> dict[str, Any]:
    tower = text("mllama_text_model", cross_attention_layers=[1])
    sight = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_global_layers": 1,
             "attention_heads": 2, "image_size": 16, "patch_size": 4, "vision_output_dim": 48,
             "intermediate_layers_indices": [0, 1], "max_num_tiles": 4}  # fmt: skip
    return with_tower("mllama", tower, sight)


FURTHER: dict[str, Callable[[], dict[str, Any]]] = {
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "pixtral": pixtral,
    "paligemma": paligemma,
    "aya_vision": aya_vision,
    "cohere2_vision": cohere2_vision,
    "ovis2": ovis2,
    "idefics2": idefics2,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe,
    "qwen3_vl_moe": qwen3_vl_moe,
    "glm4v": glm4v,
    "llama4": llama4,
    "gemma4": gemma4,
    "gemma4-layer-embeddings": lambda: gemma4(
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64,
        num_kv_shared_layers=2,
        num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ),
    "lfm2_vl": lfm2_vl,
    "qwen4_exp": qwen4_exp,
    "mllama": mllama,
}
"""Tested more leanly."""
for newest in {"qwen4_exp"} - set(CONFIG_MAPPING):
    del FURTHER[newest]
