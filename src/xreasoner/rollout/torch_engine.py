"""The in-process engine: continuous batching over any Hugging Face language model or Qwen-style VLM."""

from collections.abc import Iterator, Sequence
from functools import partial

from xreasoner.chat.template import encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.batch import Batch
from xreasoner.rollout.budget import most_tokens
from xreasoner.rollout.seat import Group
from xreasoner.rollout.vocabulary import read_vocabulary


class TorchEngine:
    """Generates on the model it was given, which may be trained between two calls."""

    def __init__(self, loaded: Loaded, max_rows: int = 256) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}: an engine needs at least one row")
        self.loaded = loaded
        self.max_rows = max_rows
        self.vocabulary = read_vocabulary(loaded.model, loaded.tokenizer)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        """Rollouts as they finish. Rows and the order of prompts change the speed, not the results."""
        model, was_training = self.loaded.model, self.loaded.model.training
        rows = min(self.max_rows, max(1, len(prompts) * sampling.n))
        room = most_tokens(sampling, len(self.vocabulary.forced_exit))
        batch = Batch(self.loaded, self.vocabulary, rows, room)
        batch.admit(self._group(prompt, sampling) for prompt in prompts)
        model.eval()
        try:
            while batch.unfinished:
                yield from batch.advance()
        finally:
            model.train(was_training)

    def _group(self, prompt: Prompt, sampling: Sampling) -> Group:
        encode = partial(encode_prompt, prompt, self.loaded.tokenizer, self.loaded.image_processor)
        return Group(prompt.id, encode, sampling, range(sampling.n), stream=prompt.id)
