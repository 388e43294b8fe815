"""The slow engine for any VLM: token by token what the torch engine answers, and what `generate` writes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tests.models.kinds import FURTHER
from tests.rollout.generate_families import PICTURED, assert_answers_as_generate, save_family
from tests.rollout.torch_engine.test_families import assert_equals_generate
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.models.load import Loaded
from xreasoner.recipe.schema import Evaluation
from xreasoner.records import Picture, Prompt, Rollout, Sampling
from xreasoner.rollout.choose import open_engine
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.generate_engine import GenerateEngine
from xreasoner.rollout.torch_engine.engine import TorchEngine

CPU = torch.device("cpu")
BUDGETS = {
    "greedy": Sampling(think_budget=6, answer_budget=5),
    "sampled twice": Sampling(n=2, temperature=1.0, think_budget=6, answer_budget=5, seed=3),
    "no forced exit": Sampling(temperature=0.7, think_budget=4, answer_budget=5, forced_exit=False),
}


def answers(engine: Engine, prompts: list[Prompt], sampling: Sampling) -> dict[tuple[str, int], Rollout]:
    return {(one.prompt_id, one.sample): one for one in engine.generate(prompts, sampling)}


@pytest.mark.parametrize("budgets", BUDGETS)
def test_answers_are_those_of_the_torch_engine(
    budgets: str, vlm_loaded: Loaded, mixed_prompts: list[Prompt]
) -> None:
    sampling, own = BUDGETS[budgets], vlm_loaded.model.generation_config
    ours = answers(TorchEngine(vlm_loaded, 4), mixed_prompts, sampling)
    slow = answers(GenerateEngine(vlm_loaded), mixed_prompts, sampling)
    assert slow.keys() == ours.keys()
    for key, one in slow.items():
        assert one.logprobs == pytest.approx(ours[key].logprobs, abs=2e-5)
        assert {**vars(one), "logprobs": ()} == {**vars(ours[key]), "logprobs": ()}
    assert any(one.forced_exit for one in slow.values()) == sampling.forced_exit
    assert vlm_loaded.model.generation_config is own


def test_what_cannot_be_asked_is_one_failed_answer(vlm_loaded: Loaded, ask: Callable[..., Prompt]) -> None:
    prompts = [ask("broken", Picture(b"no image"), " w1"), ask("fine", "w1 w2")]
    found = answers(GenerateEngine(vlm_loaded), prompts, BUDGETS["greedy"])
    assert "an image cannot be read" in found["broken", 0].trouble
    assert not found["fine", 0].trouble and found["fine", 0].token_ids


@pytest.mark.parametrize("kind", ["qwen3_5", "qwen3_5_moe", "qwen4_exp"])
def test_qwen_families_that_carry_a_state(
    kind: str,
    vlm_loaded: Loaded,
    mixed_prompts: list[Prompt],
    shake: Callable[[PreTrainedModel], PreTrainedModel],
) -> None:
    marks = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    settings = FURTHER[kind]() | {name: getattr(vlm_loaded.model.config, name) for name in marks}
    settings["text_config"]["vocab_size"] = 80
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = shake(AutoModelForImageTextToText.from_config(config))
    patch = config.vision_config.patch_size
    size = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 64 * (2 * patch) ** 2}
    loaded = Loaded(model, vlm_loaded.tokenizer, Qwen2VLImageProcessorPil(size=size, patch_size=patch))
    with pytest.raises(ValueError, match="torch engine does not support"):
        TorchEngine(loaded)
    assert_equals_generate(loaded, mixed_prompts[:6], engine=GenerateEngine(loaded))


# Older transformers open the processor of Idefics2 only beside torchvision.
READ_HERE = [name for name, one in PICTURED.items() if not one.wants_torchvision]
if "torchvision" in getattr(transformers.Idefics2ImageProcessorPil, "_backends", ()):
    READ_HERE.remove("idefics2")


@pytest.mark.parametrize("family", READ_HERE)
def test_families_that_only_their_own_processor_reads(family: str, tmp_path: Path) -> None:
    save_family(family, tmp_path)
    engine = open_engine(tmp_path, Evaluation(dtype="float32"), CPU)
    assert isinstance(engine, GenerateEngine)
    assert_answers_as_generate(engine, tmp_path)
