"""The in-process engine: continuous batching over any Hugging Face language model or Qwen-style VLM."""

from collections.abc import Iterator, Sequence

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.batch import Batch
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
        batch = Batch(self.loaded, self.vocabulary, self.max_rows, prompts, sampling)
        model.eval()
        try:
            while batch.unfinished:
                yield from batch.advance()
        finally:
            model.train(was_training)
