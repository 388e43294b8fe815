"""At the start of a stage: is a packed row computed as transformers computes each sequence alone?

A new architecture may carry a state across tokens, cap its attention scores or scale its logits. Training it
packed would then be wrong without any error.

Suffixes: 1 the batch of one sequence, T its tokens, N target tokens, V vocabulary.
"""

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from xreasoner.chat.template import Example
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import pack

NOT_PACKED = "packed rows would not be computed correctly for this architecture: one sequence per row"
LENGTHS = (40, 24)
LARGEST = {torch.float32: 0.01, torch.bfloat16: 0.3}
"""Mean difference of log-probabilities that rounding does not reach, and a wrong scale or cap exceeds.

On the weights of Qwen2.5-Coder-0.5B (CPU), rounding gave 0 in float32 and 0.024 to 0.038 in bfloat16; two
sequences that saw each other, 1.2 in both. On small random models, what was wrong gave 0.3 and more.
"""
LEAK = {torch.float32: 0.002, torch.bfloat16: 0.05}
"""Nothing leaks into the first sequence. The second may differ by three times as much, and this."""


@torch.no_grad()
def check_packing(loss: LanguageModelLoss, dtype: torch.dtype) -> bool:
    """Whether to train packed. False: only one sequence per row is right. Refuses if not even that is."""
    was_training = loss.training
    loss.eval()
    expected = [_own_logprobs(loss, example) for example in _examples(loss)]
    packs = _attends_plainly(loss.lm.config.get_text_config()) and _is_rounding(
        _distances(_packed_logprobs(loss, [_examples(loss)]), expected), dtype
    )
    if not packs:
        loss.packs = False
        alone = _distances(_packed_logprobs(loss, [[example] for example in _examples(loss)]), expected)
        loss.packs = True
        if not _is_rounding(alone, dtype):
            raise ValueError(
                f"a {loss.lm.config.model_type} model cannot be trained here: its log-probabilities "
                f"differ by {max(alone):.2g} from those of transformers"
            )
    loss.train(was_training)
    return packs


def _attends_plainly(text: PreTrainedConfig) -> bool:
    """Ours does not cap scores, pick keys by an index, or see chunks, which short sequences may not show."""
    caps = getattr(text, "attn_logit_softcapping", None) is not None
    picks = getattr(text, "indexer_budget", None) is not None
    chunks = "chunked_attention" in (getattr(text, "layer_types", None) or ())
    return not (caps or picks or chunks)


def _is_rounding(distances: list[float], dtype: torch.dtype) -> bool:
    first, second = distances
    return first <= LARGEST[dtype] and second <= 3 * first + LEAK[dtype]


def _examples(loss: LanguageModelLoss) -> list[Example]:
    """Tokens drawn without a special meaning; the first of a sequence predicts, but is not predicted."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = loss.lm.config.get_text_config().vocab_size
    drawn = (torch.randint(vocabulary, (length,), generator=generator).tolist() for length in LENGTHS)
    return [Example(tuple(ids), (True,) * len(ids)) for ids in drawn]


def _own_logprobs(loss: LanguageModelLoss, example: Example) -> Tensor:
    ids_1T = torch.tensor([example.ids], device=loss.lm.device)
    logits_TV = loss.logits(ids_1T)[0].float()
    return logits_TV[:-1].log_softmax(-1).gather(1, ids_1T[0, 1:, None])[:, 0]


def _packed_logprobs(loss: LanguageModelLoss, rows: list[list[Example]]) -> Tensor:
    with loss.computing():
        return torch.cat([loss(pack(row, loss.lm.device)).logprob_N for row in rows])


def _distances(found: Tensor, expected: list[Tensor]) -> list[float]:
    """The mean over each sequence."""
    parts = found.split([len(one) for one in expected])
    return [(a - b).abs().mean().item() for a, b in zip(parts, expected, strict=True)]
