"""Decodes tokens as they arrive; a character that spans several tokens is held back until it is complete."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_CONTEXT = 8
"""Tokens decoded again before new ones: in some tokenizers the token to the left decides about a space."""
_INCOMPLETE = "�"


class IncrementalDecoder:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-_CONTEXT:])
        self._decoded = len(self._ids)
        """How many tokens are part of `text` or came before it."""
        self.text = ""

    def add(self, token: int) -> None:
        self._ids.append(token)
        self._update(is_last=False)

    def finish(self) -> None:
        """Also decode a character that stayed incomplete."""
        self._update(is_last=True)

    def _update(self, is_last: bool) -> None:
        start = max(0, self._decoded - _CONTEXT)
        whole = self._decode(self._ids[start:])
        if whole.endswith(_INCOMPLETE) and not is_last:
            return
        self.text += whole[len(self._decode(self._ids[start : self._decoded])) :]
        self._decoded = len(self._ids)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))
