"""At the start of a stage: is a packed row computed as transformers computes each sequence alone?

A new architecture may carry a state across tokens, cap its attention scores or scale its logits. Training it
packed would then be wrong without any error.

Suffixes: 1 the batch of one sequence, T its tokens, N target tokens, V vocabulary.
"""

import torch
from torch import Tensor

from xreasoner.chat.template import Example
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import pack

NOT_PACKED = "packed rows would not be computed correctly for this architecture: one sequence per row"
LENGTHS = (40, 24)
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Mean difference of log-probabilities. Leaks and lost settings gave 0.3 and more; rounding gives less."""


@torch.no_grad()
def check_packing(loss: LanguageModelLoss, dtype: torch.dtype) -> bool:
    """Whether to train packed. False: only one sequence per row is right. Refuses if not even that is."""
    was_training = loss.training
    loss.eval()
    expected = [_own_logprobs(loss, example) for example in _examples(loss)]
    packed = _distance(_packed_logprobs(loss, [_examples(loss)]), expected)
    if getattr(loss.lm.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        packed = float("inf")  # our attention does not cap scores, which may not show on random tokens
    loss.packs = False
    alone = 0.0
    if packed > TOLERANCE[dtype]:
        alone = _distance(_packed_logprobs(loss, [[example] for example in _examples(loss)]), expected)
    loss.packs = True
    loss.train(was_training)
    if alone > TOLERANCE[dtype]:
        raise ValueError(
            f"a {loss.lm.config.model_type} model cannot be trained here: its log-probabilities "
            f"differ by {alone:.2g} from those of transformers"
        )
    return packed <= TOLERANCE[dtype]


def _examples(loss: LanguageModelLoss) -> list[Example]:
    """Tokens drawn without a special meaning; the first of a sequence predicts, but is not predicted."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = loss.lm.config.get_text_config().vocab_size
    drawn = (torch.randint(vocabulary, (length,), generator=generator).tolist() for length in LENGTHS)
    return [Example(tuple(ids), (True,) * len(ids)) for ids in drawn]


def _own_logprobs(loss: LanguageModelLoss, example: Example) -> Tensor:
    ids_1T = torch.tensor([example.ids], device=loss.lm.device)
    logits_TV = loss.lm(input_ids=ids_1T, use_cache=False).logits[0].float()
    return logits_TV[:-1].log_softmax(-1).gather(1, ids_1T[0, 1:, None])[:, 0]


def _packed_logprobs(loss: LanguageModelLoss, rows: list[list[Example]]) -> Tensor:
    with loss.attention():
        return torch.cat([loss(pack(row, loss.lm.device)).logprob_N for row in rows])


def _distance(found: Tensor, expected: list[Tensor]) -> float:
    """The largest mean over one sequence: what leaks, leaks into the second."""
    parts = found.split([len(one) for one in expected])
    return max((a - b).abs().mean().item() for a, b in zip(parts, expected, strict=True))
