"""Length and log-probability of each token of an answer in two characters, for a reader that colours them.

As JSON lists they would take nine bytes a token, where the text itself takes about four.
"""

import math
from typing import Any

from xreasoner.records import Rollout
from xreasoner.rollout.token_pieces import TokenPieces, sampled_tokens

_LETTERS = "".join(chr(code) for code in range(ord("!"), ord("~")) if chr(code) not in '"\\')
"""One byte each in JSON."""
_INJECTED = "~"
_STEPS = 30
"""Steps of a natural logarithm: probabilities near 1 keep 3%, and the last letter stands for e**-19."""
_VALUE = {letter: number for number, letter in enumerate(_LETTERS)}


def token_codes(rollout: Rollout, pieces: TokenPieces) -> str:
    """Empty if the tokens do not make up the text, or one is longer than the letters reach."""
    found = sampled_tokens(rollout, pieces)
    if found is None or max(found["chars"], default=0) >= len(_LETTERS):
        return ""
    return "".join(
        _LETTERS[count] + (_INJECTED if logprob is None else _letter(logprob))
        for count, logprob in zip(found["chars"], found["logprobs"], strict=True)
    )


def tokens_of(codes: str) -> dict[str, list[Any]]:
    """As training stores them, rounded to the steps of the letters."""
    logprobs = [None if one == _INJECTED else round(_logprob(one), 3) for one in codes[1::2]]
    return {"chars": [_VALUE[one] for one in codes[::2]], "logprobs": logprobs}


def _letter(logprob: float) -> str:
    step = round(_STEPS * math.log1p(max(0.0, -logprob)))
    return _LETTERS[min(step, len(_LETTERS) - 1)]


def _logprob(letter: str) -> float:
    return -math.expm1(_VALUE[letter] / _STEPS)
