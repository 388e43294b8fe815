"""Which tokens are never sampled, and which end a turn."""

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.special_tokens import read_special_tokens
from xreasoner.rollout.torch_engine.engine import TorchEngine

MARKS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def test_vision_tokens_and_padding_are_banned_but_tags_and_end_of_turn_are_not(vlm_loaded: Loaded) -> None:
    tokenizer = vlm_loaded.tokenizer
    special = read_special_tokens(vlm_loaded.model, tokenizer)
    padding = range(len(tokenizer), vlm_loaded.model.config.text_config.vocab_size)
    assert len(padding) > 0
    assert special.banned == {*tokenizer.convert_tokens_to_ids(list(MARKS)), *padding}
    assert special.stops == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_a_text_model_bans_vision_tokens_that_only_its_tokenizer_has(
    text_loaded: Loaded, vlm_loaded: Loaded
) -> None:
    """A detached model's config has no image token; its vocabulary still has."""
    assert not hasattr(text_loaded.model.config, "image_token_id")
    of_text = read_special_tokens(text_loaded.model, text_loaded.tokenizer)
    assert of_text.banned == read_special_tokens(vlm_loaded.model, vlm_loaded.tokenizer).banned


def test_a_banned_token_is_never_sampled_however_likely(text_loaded: Loaded, ask) -> None:
    special = read_special_tokens(text_loaded.model, text_loaded.tokenizer)
    sampling = Sampling(n=40, temperature=50.0, think_budget=10, answer_budget=20)
    prompts: list[Prompt] = [ask("p", "w1 w2")]
    sampled = {
        token
        for rollout in TorchEngine(text_loaded).generate(prompts, sampling)
        for token in rollout.token_ids
    }
    assert not sampled & special.banned
    # At this temperature nearly every other token is drawn.
    assert len(sampled) > 40


def test_only_tokens_with_the_closing_sign_can_end_a_tag(text_loaded: Loaded, letter_loaded: Loaded) -> None:
    for loaded, tag_end in ((text_loaded, "</think>"), (letter_loaded, ">")):
        may_end = read_special_tokens(loaded.model, loaded.tokenizer).may_end_tag
        assert loaded.tokenizer.convert_tokens_to_ids(tag_end) in may_end
        texts = loaded.tokenizer.convert_ids_to_tokens(sorted(may_end))
        assert all(">" in text for text in texts)


def test_stops_come_from_the_generation_config_too(text_loaded: Loaded) -> None:
    generation = text_loaded.model.generation_config
    before = generation.eos_token_id
    generation.eos_token_id = [before, 7]
    try:
        assert read_special_tokens(text_loaded.model, text_loaded.tokenizer).stops == {before, 7}
    finally:
        generation.eos_token_id = before
