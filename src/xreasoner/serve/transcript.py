"""Tokens to text while they come: a character that needs several tokens waits for the last of them."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_CONTEXT = 8
"""Tokens decoded once more before new ones: in some tokenizers the left neighbour decides on a space."""
_UNFINISHED = "�"


class Transcript:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-_CONTEXT:])
        self._told = len(self._ids)
        """Tokens whose text is out."""
        self.text = ""

    def add(self, token: int) -> None:
        self._ids.append(token)
        self._tell(is_last=False)

    def finish(self) -> None:
        """What never became a whole character is shown as such."""
        self._tell(is_last=True)

    def _tell(self, is_last: bool) -> None:
        start = max(0, self._told - _CONTEXT)
        whole = self._decode(self._ids[start:])
        if whole.endswith(_UNFINISHED) and not is_last:
            return
        self.text += whole[len(self._decode(self._ids[start : self._told])) :]
        self._told = len(self._ids)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))
