"""Random models of Qwen2.5's shapes, made on the device, and a tokenizer of as many words.

A random model would hardly ever end its answer. One coordinate of the residual stream is the same for every
token, and the head's row of the end-of-turn token reads it, so each token ends the answer with the same small
probability: lengths have a long tail, as those of real answers do.
"""

import math
import random

import torch
from benchmarks.gpu.suite import Machine
from tokenizers import AddedToken, Tokenizer
from tokenizers import models as tokenizer_models
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config

from xreasoner.chat.template import Example, special_ids
from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from xreasoner.miniworld.tokenizer import CHAT_TEMPLATE, END_OF_TEXT, SPECIAL, TURN_END, UNKNOWN
from xreasoner.records import Message, Prompt

_NAMES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
SHAPES: dict[str, tuple[int, ...]] = {
    "tiny": (64, 128, 2, 4, 2),
    "small": (512, 1024, 4, 8, 2),
    "0.5B": (896, 4864, 24, 14, 2),
    "1.5B": (1536, 8960, 28, 12, 2),
    "3B": (2048, 11008, 36, 16, 2),
    "7B": (3584, 18944, 28, 28, 4),
}
VOCABULARY = {"tiny": 512, "small": 4096, "7B": 152064}
"""The others have 151,936."""


def config_of(size: str, machine: Machine) -> Qwen2Config:
    size = "tiny" if machine.tiny else size
    return Qwen2Config(
        **dict(zip(_NAMES, SHAPES[size], strict=True)),
        vocab_size=VOCABULARY.get(size, 151936),
        tie_word_embeddings=size != "7B",
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )


def random_lm(size: str, machine: Machine, dtype: torch.dtype, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = config_of(size, machine)
    with machine.device:
        lm = AutoModelForCausalLM.from_config(config, dtype=dtype)
    tokenizer = tokenizer_of(config.vocab_size)
    for settings in (lm.config, lm.generation_config):
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    return lm.eval()


def tokenizer_of(vocabulary: int) -> PreTrainedTokenizerFast:
    named = [UNKNOWN, *SPECIAL, THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE]
    roles = ["system", "user", "assistant"]
    words = [*named, *roles, *(f"w{i}" for i in range(vocabulary - len(named) - len(roles)))]
    ids = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(tokenizer_models.WordLevel(ids, unk_token=UNKNOWN))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in named[-4:]])
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=TURN_END, pad_token=END_OF_TEXT, unk_token=UNKNOWN
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def end_after(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, mean_length: float) -> None:
    """From now on each token ends the answer with a probability near 1 / mean_length, and none is a mark.

    Marks (`<|im_start|>` and kin) are banned from sampling. Here they have no probability to begin with, so
    the sampler's probabilities are the trainer's.
    """
    embedding, head = lm.get_input_embeddings().weight, lm.get_output_embeddings().weight
    # Small, or logits in bfloat16 would be rounded to the size of what all of them share in a tied model.
    embedding[:, 0] = embedding.float().norm(dim=1).mean() / 8
    for layer in lm.base_model.layers:
        layer.self_attn.o_proj.weight[0] = 0
        layer.mlp.down_proj.weight[0] = 0
    marks = sorted(special_ids(tokenizer))
    head[marks] = 0
    ids_1T = torch.arange(20, 84, device=lm.device)[None]
    hidden_TE = lm.base_model(input_ids=ids_1T).last_hidden_state[0].float()
    constant = hidden_TE[:, 0].mean().item()
    others = (hidden_TE @ head.float().T).logsumexp(-1).mean().item()
    head[marks, 0] = (others - 30) / constant
    head[tokenizer.eos_token_id, 0] = (others - math.log(mean_length)) / constant


def random_examples(tokens: int, longest: int, vocabulary: int, rng: random.Random) -> list[Example]:
    """Sequences of long-tailed lengths that fill exactly this many tokens; the first fifth is prompt."""
    examples, left = list[Example](), tokens
    while left > 0:
        length = min(left, longest, max(16, round(rng.lognormvariate(math.log(longest / 8), 0.8))))
        length = left if left - length < 16 else length
        ids = tuple(rng.choices(range(20, vocabulary), k=length))
        examples.append(Example(ids, tuple(i >= length // 5 for i in range(length))))
        left -= length
    return examples


def random_prompts(count: int, vocabulary: int, words: tuple[int, int]) -> list[Prompt]:
    """Meaningless questions of so many words."""
    rng = random.Random(0)

    def question() -> str:
        return " ".join(f"w{rng.randrange(vocabulary - 20)}" for _ in range(rng.randint(*words)))

    return [Prompt(f"p{i}", (Message("user", (question(),)),)) for i in range(count)]
