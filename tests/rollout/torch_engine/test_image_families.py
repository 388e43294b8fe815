"""Images of every supported family: tokens of its own processor, greedy text equal to `generate`'s."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from PIL import Image
from tests.models.kinds import FURTHER, KINDS
from tests.rollout.pictures import asked, picture
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast
from transformers.models.aya_vision import AyaVisionProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3 import Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3 import Idefics3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava import LlavaProcessor
from transformers.models.llava_next import LlavaNextProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.ovis2 import Ovis2Processor
from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from xreasoner.chat.image_tokens import FAMILY_IMAGES, FamilyImages
from xreasoner.chat.template import PromptError, encode_plainly, encode_prompt
from xreasoner.models.families import FAMILIES, placeholder_of
from xreasoner.models.image_support import why_no_images
from xreasoner.models.load import Loaded, load
from xreasoner.records import Picture, Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine

WORDS = 50
SPECIAL = (
    *("<image>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>", "<start_of_image>", "<image_soft_token>"),
    *("<end_of_image>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<fake_token_around_image>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
    *("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "TILE_GLOBAL", "TILE_1", "TILE_2", "TILE_3"),
    *("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>", "<IMG_ATOM>"),
)
IDS = {token: WORDS + number for number, token in enumerate(SPECIAL)}
SIZE = {"height": 16, "width": 16}
LETTERBOX = {"longest_edge": 32}


class Case(NamedTuple):
    kind: str
    """In `tests/models/conftest.py`."""
    image_token: str
    processor: Any
    theirs: Callable[[Any, PreTrainedTokenizerFast], Any] | None
    """The family's own processor; None if it needs packages that are not here."""


CASES = {
    "llava": Case(
        "llava-llama",
        "<image>",
        lambda: CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SIZE),
        lambda images, tokenizer: LlavaProcessor(
            images, tokenizer, 4, "default", num_additional_image_tokens=1
        ),
    ),
    "internvl": Case(
        "internvl-qwen2",
        "<IMG_CONTEXT>",
        lambda: GotOcr2ImageProcessorPil(size=SIZE, max_patches=4),
        None,  # it needs a video processor, and that torchvision
    ),
    "gemma3": Case(
        "gemma3",
        "<image_soft_token>",
        lambda: Gemma3ImageProcessorPil(size=SIZE),
        lambda images, tokenizer: Gemma3Processor(images, tokenizer, image_seq_length=4),
    ),
    "idefics3": Case(
        "idefics3",
        "<image>",
        lambda: Idefics3ImageProcessorPil(size=LETTERBOX, max_image_size={"longest_edge": 16}),
        lambda images, tokenizer: Idefics3Processor(images, tokenizer, image_seq_len=4),
    ),
    "smolvlm": Case(
        "smolvlm",
        "<image>",
        lambda: SmolVLMImageProcessorPil(size=LETTERBOX, max_image_size={"longest_edge": 16}),
        None,  # it needs num2words; Idefics3's rule is the same
    ),
    "mistral3": Case(
        "mistral3-mistral",
        "[IMG]",
        lambda: PixtralImageProcessorPil(size={"longest_edge": 16}, patch_size=4),
        None,  # it needs torchvision
    ),
    "llava_next": Case(
        "llava_next",
        "<image>",
        lambda: LlavaNextImageProcessorPil(
            size={"shortest_edge": 16}, crop_size=SIZE, image_grid_pinpoints=[[16, 32], [32, 16]]
        ),
        lambda images, tokenizer: LlavaNextProcessor(
            images, tokenizer, 4, "default", num_additional_image_tokens=1
        ),
    ),
    "llava_onevision": Case(
        "llava_onevision",
        "<image>",
        lambda: LlavaOnevisionImageProcessorPil(size=SIZE, image_grid_pinpoints=[[16, 32], [32, 16]]),
        None,  # it needs a video processor, and that torchvision
    ),
    "aya_vision": Case(
        "aya_vision",
        "<|IMG_PATCH|>",
        lambda: GotOcr2ImageProcessorPil(size=SIZE, max_patches=4),
        lambda images, tokenizer: AyaVisionProcessor(images, tokenizer, 4, 16, downsample_factor=2),
    ),
    "ovis2": Case(
        "ovis2",
        "<IMG_ATOM>",
        lambda: Ovis2ImageProcessorPil(size=SIZE, max_patches=4, crop_to_patches=True),
        lambda images, tokenizer: Ovis2Processor(images, tokenizer, image_seq_length=4),
    ),
    "pixtral": Case(
        "pixtral",
        "[IMG]",
        lambda: PixtralImageProcessorPil(size={"longest_edge": 16}, patch_size=4),
        None,  # it needs torchvision
    ),
}
FIRST = ("llava", "internvl", "gemma3", "idefics3", "smolvlm", "mistral3")
"""Those for which everything is tested; for the others, their tokens and greedy text."""


def build_tokenizer(placeholder: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w3"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="w2", pad_token="w0", unk_token="w3"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(token, normalized=False) for token in SPECIAL]}
    )
    names = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>" if placeholder == "<start_of_image>" else placeholder,
    }  # fmt: skip
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", IDS[token])
    tokenizer.chat_template = (
        "{% for message in messages %}w4 {% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{% if part.type == 'image' %} " + placeholder + " {% else %}"
        "{{ part.text }}{% endif %}{% endfor %}{% endif %} w5 {% endfor %}w6"
    )
    return tokenizer


def build(name: str) -> Loaded:
    case = CASES[name]
    settings = {**KINDS, **FURTHER}[case.kind]()
    placeholder = placeholder_of(settings["model_type"], settings["vision_config"].get("model_type"))
    assert placeholder is not None
    settings |= {"image_token_id": IDS[case.image_token], "video_token_id": IDS["<video>"]}
    settings["text_config"] |= {"vocab_size": WORDS + len(SPECIAL), "max_position_embeddings": 512}
    if name == "gemma3":
        settings["text_config"]["sliding_window"] = 512
        settings |= {"boi_token_index": IDS["<start_of_image>"], "eoi_token_index": IDS["<end_of_image>"]}
    if name == "ovis2":
        marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
        settings["visual_indicator_token_ids"] = [IDS[mark] for mark in marks]
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config).eval()
    spread = 0.3 if name == "ovis2" else 0.05  # so that its texts differ
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    images = FAMILY_IMAGES[config.model_type](case.processor(), model.config, placeholder)
    return Loaded(model, build_tokenizer(placeholder), images)


PROMPTS = (
    asked("one", picture(1, 40, 20), " w10 w11"),
    asked("words", "w12 w13 w14"),
    asked("two", "w15 ", picture(2, 16, 16), " w16 ", picture(3, 20, 30), " w17 w18 w19"),
)
GREEDY = Sampling(think_budget=0, answer_budget=12, forced_exit=False)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.theirs])
@pytest.mark.parametrize("prompt", [PROMPTS[0], PROMPTS[2]], ids=["one", "two"])
def test_the_tokens_and_inputs_are_those_of_the_familys_own_processor(name: str, prompt: Prompt) -> None:
    loaded, case = build(name), CASES[name]
    encoded = encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
    assert case.theirs is not None
    theirs = case.theirs(case.processor(), loaded.tokenizer)
    content = [
        {"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part}
        for part in prompt.messages[0].parts
    ]
    written = loaded.tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    pictures = [part for part in prompt.messages[0].parts if isinstance(part, Picture)]
    images = [Image.open(io.BytesIO(one.encoded)) for one in pictures]
    wanted = theirs(text=[written], images=[images], add_special_tokens=False, return_tensors="pt")
    assert list(encoded.ids) == wanted["input_ids"][0].tolist()
    given = {"pixel_values": encoded.pixel_values, **encoded.other_inputs}
    assert set(given) == set(wanted) - {"input_ids", "attention_mask"}
    for key, tensor in given.items():
        assert torch.equal(tensor, wanted[key]), key


def images_of(*sizes: tuple[int, int]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(picture(n, *size).encoded)) for n, size in enumerate(sizes)]


def test_internvls_tokens_are_those_of_its_own_rule() -> None:
    """The rule of its processor, without the parts that need a video processor and torchvision."""
    family = build("internvl").image_processor
    assert isinstance(family, FamilyImages)
    images = images_of((40, 20), (16, 16), (20, 30))
    theirs = object.__new__(InternVLProcessor)
    theirs.image_token, theirs.image_seq_length = "<IMG_CONTEXT>", 4
    theirs.start_image_token, theirs.end_image_token = "<img>", "</img>"
    wanted = CASES["internvl"].processor()(images=images, crop_to_patches=True, return_tensors="pt")
    inputs, tokens = family.read(images)
    assert tokens == [theirs.replace_image_token(wanted, number) for number in range(3)]
    assert torch.equal(inputs["pixel_values"], wanted["pixel_values"])


def test_pixtrals_tokens_by_hand() -> None:
    """At most 16 pixels long, in cells of 4: 40 x 20 becomes 16 x 8."""
    family = build("pixtral").image_processor
    assert isinstance(family, FamilyImages)
    _, tokens = family.read(images_of((40, 20)))
    assert tokens == ["[IMG][IMG][IMG][IMG][IMG_BREAK][IMG][IMG][IMG][IMG][IMG_END]"]


def test_onevisions_tokens_by_hand() -> None:
    """Tiles of 16 pixels have 4 x 4 patches. 40 x 20 fills 32 x 16: 16 whole, 4 rows of 8 and a token more.
    Two images are shown whole only, with a token more each."""
    family = build("llava_onevision").image_processor
    assert isinstance(family, FamilyImages)
    _, tokens = family.read(images_of((40, 20)))
    assert [text.count("<image>") for text in tokens] == [16 + 4 * 9]
    _, tokens = family.read(images_of((40, 20), (16, 16)))
    assert [text.count("<image>") for text in tokens] == [17, 17]


def test_mistrals_tokens_by_hand() -> None:
    """At most 16 pixels long, in cells of 8: 40 x 20 becomes 16 x 8, the others 16 x 16."""
    family = build("mistral3").image_processor
    assert isinstance(family, FamilyImages)
    _, tokens = family.read(images_of((40, 20), (16, 16), (20, 30)))
    square = "[IMG][IMG][IMG_BREAK][IMG][IMG][IMG_END]"
    assert tokens == ["[IMG][IMG][IMG_END]", square, square]


@pytest.mark.parametrize("name", CASES)
def test_greedy_text_is_that_of_generate(name: str) -> None:
    loaded = build(name)
    engine = TorchEngine(loaded, 3)
    found = {rollout.prompt_id: rollout for rollout in engine.generate(PROMPTS, GREEDY)}
    for prompt in PROMPTS:
        encoded = encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
        ids = torch.tensor([encoded.ids])
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if encoded.pixel_values is not None:
            inputs |= {"pixel_values": encoded.pixel_values, **encoded.other_inputs}
        expected = loaded.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=GREEDY.answer_budget,
            suppress_tokens=sorted(engine.special_tokens.banned),
            eos_token_id=sorted(engine.special_tokens.stops),
            pad_token_id=0,
        )
        assert list(found[prompt.id].token_ids) == expected[0, ids.shape[1] :].tolist()
    assert len({rollout.token_ids for rollout in found.values()}) > 1


@pytest.mark.parametrize("name", FIRST)
def test_the_image_matters(name: str) -> None:
    """Another image gives other logits: the pixels reach the language model."""
    loaded = build(name)
    logits = []
    for seed in (1, 2):
        prompt = asked("p", picture(seed, 40, 20), " w10")
        encoded = encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
        assert encoded.pixel_values is not None
        inputs = {"pixel_values": encoded.pixel_values, **encoded.other_inputs}
        with torch.no_grad():
            logits.append(loaded.model(input_ids=torch.tensor([encoded.ids]), **inputs).logits[0, -1])
    assert not torch.allclose(*logits, atol=1e-4)


@pytest.mark.parametrize("name", FIRST)
def test_a_placeholder_in_the_question_is_refused(name: str) -> None:
    loaded = build(name)
    prompt = asked("p", picture(1, 16, 16), f" w10 {FAMILIES[name].placeholder} w11")
    with pytest.raises(PromptError, match="1 images but 2"):
        encode_prompt(prompt, loaded.tokenizer, loaded.image_processor)
    assert encode_plainly(PROMPTS[0], loaded.tokenizer)[0].count(IDS[FAMILIES[name].placeholder]) == 1


# Older transformers open SmolVLM's processor only beside torchvision.
WANTS_TORCHVISION = "torchvision" in getattr(transformers.SmolVLMImageProcessorPil, "_backends", ())
SMOLVLM = pytest.param("smolvlm", marks=pytest.mark.skipif(WANTS_TORCHVISION, reason="needs torchvision"))


@pytest.mark.parametrize("name", ["llava", "gemma3", SMOLVLM])
def test_a_saved_checkpoint_is_loaded_with_the_images_of_its_family(name: str, tmp_path: Path) -> None:
    loaded, case = build(name), CASES[name]
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    case.processor().save_pretrained(tmp_path)
    again = load(tmp_path)
    here, there = (encode_prompt(PROMPTS[2], one.tokenizer, one.image_processor) for one in (loaded, again))
    assert here.ids == there.ids
    assert here.pixel_values is not None and there.pixel_values is not None
    assert torch.equal(here.pixel_values, there.pixel_values)
    assert why_no_images(tmp_path) is None
