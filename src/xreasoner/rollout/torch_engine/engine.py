"""The in-process engine: continuous batching over language models and VLMs of Hugging Face."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from xreasoner.chat.template import Encoded, PromptError, encode_plainly, encode_prompt, refuse_too_long
from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.rollout.rollout_record import failed_rollout
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import TokenDecoder, read_special_tokens
from xreasoner.rollout.torch_engine.attention import check_supported
from xreasoner.rollout.torch_engine.decode_graphs import CudaRecorder, Recorder
from xreasoner.rollout.torch_engine.recovery import Recovery
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.rollout.torch_engine.slots import Request

CHECK_EVERY = {"cuda": 8}
"""By device: tokens between two checks by the host, which would stall a GPU if it waited for each one."""


class TorchEngine:
    """Generates with the model it is given, which may be trained between two calls."""

    def __init__(self, loaded: Loaded, max_rows: int = 256, check_every: int | None = None) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}: an engine needs at least one row")
        check_supported(loaded.model)
        self.loaded = loaded
        self.max_rows = max_rows
        self.check_every = check_every or CHECK_EVERY.get(loaded.model.device.type, 1)
        self.recorder: Recorder | None = CudaRecorder() if loaded.model.device.type == "cuda" else None
        self.special_tokens = read_special_tokens(loaded.model, loaded.tokenizer)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        """The number of rows and the order of the prompts change the speed, not the results."""
        return self._run([self._request(prompt, sampling) for prompt in prompts], sampling)

    def resume(self, partials: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        """Each sample continues with the random numbers it would have used from that position on."""
        requests = list[Request]()
        for partial_rollout in partials:
            prompt, sample = partial_rollout.prompt, partial_rollout.sample
            try:
                replayed = self._replay(partial_rollout, sampling)
            except PromptError as error:
                yield failed_rollout(prompt.id, sample, str(error))
                continue
            if replayed.stop:
                yield replayed.rollout()
                continue
            requests.append(
                replace(
                    self._request(prompt, sampling),
                    samples=range(sample, sample + 1),
                    prefix_ids=tuple(replayed.token_ids),
                    tracker=replayed.tracker,
                )
            )
        yield from self._run(requests, sampling)

    def _run(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Rollout]:
        model, was_training = self.loaded.model, self.loaded.model.training
        rows = min(self.max_rows, max(1, sum(len(request.samples) for request in requests)))
        longest = max_tokens(sampling, self.special_tokens.exits.longest)

        def open_scheduler(rows: int) -> Scheduler:
            return Scheduler(self.loaded, self.special_tokens, rows, longest, self.check_every, self.recorder)

        recovery = Recovery(open_scheduler, rows)
        model.eval()
        try:
            yield from recovery.run(requests)
        finally:
            model.train(was_training)
        if recovery.rows < rows:
            self.max_rows = recovery.rows

    def _replay(self, partial_rollout: PartialRollout, sampling: Sampling) -> SegmentedRollout:
        """Apply the budgets to the tokens that are already there."""
        prompt = partial_rollout.prompt
        ids, _ = encode_plainly(prompt, self.loaded.tokenizer)
        decoder = TokenDecoder(self.loaded.tokenizer, self.special_tokens)
        replayed = SegmentedRollout(prompt, tuple(ids), partial_rollout.sample, sampling, decoder)
        replayed.add_prefix(partial_rollout.token_ids)
        return replayed

    def _request(self, prompt: Prompt, sampling: Sampling) -> Request:
        encode = partial(self._encode, prompt)
        return Request(prompt.id, encode, sampling, range(sampling.n), stream=prompt.id)

    def _encode(self, prompt: Prompt) -> Encoded:
        encoded = encode_prompt(prompt, self.loaded.tokenizer, self.loaded.image_processor)
        refuse_too_long(prompt.id, len(encoded.ids), self.loaded.model.config)
        return encoded
