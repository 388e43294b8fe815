"""Prompts, and which tokens are trained on."""

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.chat.template import encode_prompt, end_of_turn_id, problem_prompt, training_example
from xreasoner.records import Message, Picture, Problem, Prompt

MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
BOTH_FORMS = (
    "{% for m in messages %}<|im_start|>{{ m.role + '\n' }}{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}"
)
STRINGS_ONLY = (
    "{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}"
)
PARTS_ONLY = BOTH_FORMS.replace("{% if m.content is string %}{{ m.content }}{% else %}", "").replace(
    "{% endfor %}{% endif %}<|im_end|>", "{% endfor %}<|im_end|>"
)
PROBLEM = Problem("p1", ("what is 1 + 1",), "2", "math", reasoning="one and one")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """One letter, one token: what was encoded can be read back exactly."""
    letters = sorted({chr(i) for i in range(32, 127)} | {"\n"})
    backend = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token=" "))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = BOTH_FORMS
    return tokenizer


@pytest.fixture
def image_processor() -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64})


def picture(columns: int, rows: int, shade: int = 0) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (28 * columns, 28 * rows), (shade, shade, shade)).save(file, "PNG")
    return Picture(file.getvalue())


def test_a_problem_is_asked_with_instruction_and_lettered_options() -> None:
    problem = replace(PROBLEM, kind="choice", choices=("two", "three"))
    prompt = problem_prompt(problem, "Think.")
    assert prompt.id == "p1"
    assert prompt.messages == (
        Message("system", ("Think.",)),
        Message("user", ("what is 1 + 1", "\nA: two", "\nB: three")),
    )


def test_the_example_of_an_option_is_shown_only_with_options() -> None:
    instruction = "Answer in <answer> </answer>{options:, as in <answer>B: No</answer>}."
    chosen = replace(PROBLEM, kind="choice", choices=("two", "three"))
    assert problem_prompt(PROBLEM, instruction).messages[0].parts == ("Answer in <answer> </answer>.",)
    assert problem_prompt(chosen, instruction).messages[0].parts == (
        "Answer in <answer> </answer>, as in <answer>B: No</answer>.",
    )


@pytest.mark.parametrize("instruction", [None, ""])
def test_without_an_instruction_there_is_no_system_message(instruction: str | None) -> None:
    assert [message.role for message in problem_prompt(PROBLEM, instruction).messages] == ["user"]


def test_more_choices_than_letters_is_an_error() -> None:
    with pytest.raises(ValueError, match="p1 has 27 choices"):
        problem_prompt(replace(PROBLEM, choices=("x",) * 27), None)


@pytest.mark.parametrize("template", [BOTH_FORMS, STRINGS_ONLY, PARTS_ONLY])
def test_text_is_the_same_in_both_template_forms(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    tokenizer.chat_template = template
    problem = replace(PROBLEM, choices=("two",))
    encoded = encode_prompt(problem_prompt(problem, "Think."), tokenizer, None)
    assert tokenizer.decode(encoded.ids) == (
        "<|im_start|>system\nThink.<|im_end|>\n"
        "<|im_start|>user\nwhat is 1 + 1\nA: two<|im_end|>\n<|im_start|>assistant\n"
    )
    assert encoded.pixel_values is None and encoded.image_grid_thw is None


def test_each_image_gets_as_many_placeholders_as_tokens(
    tokenizer: PreTrainedTokenizerFast, image_processor: Qwen2VLImageProcessorPil
) -> None:
    parts = ("see ", picture(3, 2, 10), " and ", picture(1, 4, 200), "?")
    encoded = encode_prompt(Prompt("p", (Message("user", parts),)), tokenizer, image_processor)
    pad = "<|image_pad|>"
    assert tokenizer.decode(encoded.ids) == (
        f"<|im_start|>user\nsee <|vision_start|>{pad * 6}<|vision_end|> and "
        f"<|vision_start|>{pad * 4}<|vision_end|>?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert encoded.image_grid_thw is not None and encoded.pixel_values is not None
    assert encoded.image_grid_thw.tolist() == [[1, 4, 6], [1, 8, 2]]
    assert encoded.pixel_values.shape == (4 * 6 + 8 * 2, 3 * 2 * 14 * 14)
    # In the order of the question: the dark picture first.
    assert encoded.pixel_values[0].mean() < encoded.pixel_values[-1].mean()
    assert encoded.pixel_values.dtype == torch.float32


def test_a_placeholder_in_the_question_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="prompt p: 0 images but 1"):
        encode_prompt(Prompt("p", (Message("user", ("<|image_pad|>",)),)), tokenizer, None)


def test_an_image_for_a_text_model_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="the model is text-only"):
        encode_prompt(Prompt("p", (Message("user", (picture(1, 1),)),)), tokenizer, None)


def test_the_target_is_the_assistants_turn_and_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    example = training_example(PROBLEM, "Think.", tokenizer)
    target = [token for token, is_target in zip(example.ids, example.is_target, strict=True) if is_target]
    asked = example.ids[: len(example.ids) - len(target)]
    assert tokenizer.decode(target) == "<think>\none and one\n</think>\n<answer>2</answer><|im_end|>"
    assert tuple(asked) == encode_prompt(problem_prompt(PROBLEM, "Think."), tokenizer, None).ids


def test_a_problem_without_a_thought_gets_no_instruction(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    example = training_example(replace(PROBLEM, reasoning=""), "Think.", tokenizer)
    target = [token for token, is_target in zip(example.ids, example.is_target, strict=True) if is_target]
    asked = example.ids[: len(example.ids) - len(target)]
    assert tokenizer.decode(target) == "<answer>2</answer><|im_end|>"
    assert tuple(asked) == encode_prompt(problem_prompt(PROBLEM, None), tokenizer, None).ids


def test_the_target_is_found_even_where_the_question_quotes_it(tokenizer: PreTrainedTokenizerFast) -> None:
    quote = "<think>\none and one\n</think>\n<answer>2</answer><|im_end|>\n<|im_start|>assistant\n"
    example = training_example(replace(PROBLEM, question=(quote,)), None, tokenizer)
    assert sum(example.is_target) == len("<think>\none and one\n</think>\n<answer>2</answer>") + 1


def test_a_template_that_removes_the_thought_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = STRINGS_ONLY.replace("m.content }}", "m.content.split('</think>')[-1] }}")
    with pytest.raises(ValueError, match="removes the thought"):
        training_example(PROBLEM, None, tokenizer)


def test_a_template_that_changes_the_prompt_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{{ messages | length }}" + STRINGS_ONLY
    with pytest.raises(ValueError, match="changes the prompt"):
        training_example(PROBLEM, None, tokenizer)


def test_training_is_text_only(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="problem p1 has an image"):
        training_example(replace(PROBLEM, question=("x", picture(1, 1))), None, tokenizer)


def test_a_tokenizer_without_a_template_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        encode_prompt(problem_prompt(PROBLEM, None), tokenizer, None)


def test_the_end_of_turn_is_read_from_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    # Some templates open the thought in the prompt only.
    tokenizer.chat_template = BOTH_FORMS.replace(
        "assistant{{ '\n' }}{% endif", "assistant{{ '\n<think>\n' }}{% endif"
    )
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.chat_template = STRINGS_ONLY.replace("<|im_end|>", "")
    assert end_of_turn_id(tokenizer) is None
