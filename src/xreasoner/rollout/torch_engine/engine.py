"""The in-process engine: continuous batching over any Hugging Face language model or Qwen-style VLM."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from xreasoner.chat.template import Encoded, PromptError, encode_plainly, encode_prompt
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.budget import most_tokens
from xreasoner.rollout.engine import Begun
from xreasoner.rollout.segments import Journey
from xreasoner.rollout.token_decoder import Speech
from xreasoner.rollout.torch_engine.scheduler import Batch
from xreasoner.rollout.torch_engine.slots import Group, refusal
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
        return self._run([self._group(prompt, sampling) for prompt in prompts], sampling)

    def resume(self, begun: Sequence[Begun], sampling: Sampling) -> Iterator[Rollout]:
        """With the random numbers that these samples would have met at the same places."""
        groups = list[Group]()
        for one in begun:
            try:
                journey = self._journey(one, sampling)
            except PromptError as error:
                yield refusal(one.prompt.id, one.sample, str(error))
                continue
            if journey.stop:
                yield journey.rollout()
                continue
            group, samples = self._group(one.prompt, sampling), range(one.sample, one.sample + 1)
            written = tuple(journey.token_ids)
            groups.append(replace(group, samples=samples, written=written, course=journey.course))
        yield from self._run(groups, sampling)

    def _run(self, groups: Sequence[Group], sampling: Sampling) -> Iterator[Rollout]:
        model, was_training = self.loaded.model, self.loaded.model.training
        rows = min(self.max_rows, max(1, sum(len(group.samples) for group in groups)))
        room = most_tokens(sampling, len(self.vocabulary.forced_exit))
        batch = Batch(self.loaded, self.vocabulary, rows, room)
        batch.admit(groups)
        model.eval()
        try:
            while batch.unfinished:
                yield from batch.advance()
        finally:
            model.train(was_training)

    def _journey(self, begun: Begun, sampling: Sampling) -> Journey:
        """As far as the budgets let these tokens lead."""
        ids, _ = encode_plainly(begun.prompt, self.loaded.tokenizer)
        speech = Speech(self.loaded.tokenizer, self.vocabulary)
        journey = Journey(begun.prompt, tuple(ids), begun.sample, sampling, speech)
        journey.follow(begun.token_ids)
        return journey

    def _group(self, prompt: Prompt, sampling: Sampling) -> Group:
        return Group(prompt.id, partial(self._encode, prompt), sampling, range(sampling.n), stream=prompt.id)

    def _encode(self, prompt: Prompt) -> Encoded:
        encoded = encode_prompt(prompt, self.loaded.tokenizer, self.loaded.image_processor)
        most = self.loaded.model.config.get_text_config().max_position_embeddings
        if len(encoded.ids) >= most:
            raise PromptError(
                f"prompt {prompt.id} has {len(encoded.ids):,} tokens; the model's limit is {most:,}"
            )
        return encoded
