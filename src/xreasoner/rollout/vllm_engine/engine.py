"""vLLM in this process, for language models and vision-language models.

The exit is forced by stop-and-continue: a request ends at the thinking budget, and a second one continues
after the injected text, which vLLM's prefix cache makes cheap. docs/vllm.md says why vLLM's own budget is not
used.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xreasoner.chat.template import PromptError, encode_plainly, open_picture
from xreasoner.models.image_support import PixelRange
from xreasoner.parallel import full_weight
from xreasoner.records import Picture, Prompt, Rollout, Sampling
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.rollout_record import failed_rollout
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import TokenDecoder, read_token_decoder
from xreasoner.rollout.vllm_engine.options import engine_options, prepare_environment
from xreasoner.rollout.vllm_engine.weights import load_weights

QUEUE_FACTOR = 2
"""Requests in flight per row, so that a row that becomes free finds the next prompt already encoded."""


class VllmEngine:
    """Holds its own copy of the weights, which can be replaced between two calls."""

    def __init__(
        self,
        checkpoint: Path,
        dtype: torch.dtype,
        rows: int,
        memory: float = 0.9,
        pixels: PixelRange | None = None,
        longest: int | None = None,
    ) -> None:
        """`longest`: no prompt and reply together are longer, in tokens."""
        prepare_environment()
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        self.decoder, self._rows = read_token_decoder(checkpoint), rows
        options = engine_options(checkpoint, dtype, rows, memory, longest)
        if pixels is not None:
            options["mm_processor_kwargs"] = {"min_pixels": pixels.low, "max_pixels": pixels.high}
        self._engine: Any = LLMEngine.from_engine_args(EngineArgs(**options))
        self._is_asleep = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        samples = (PartialRollout(prompt, sample) for prompt in prompts for sample in range(sampling.n))
        return self._run(samples, sampling)

    def resume(self, partials: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        return self._run(iter(partials), sampling)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Under the names of a Hugging Face checkpoint; tied weights once."""
        if self._is_asleep:
            self._engine.wake_up(["weights"])  # the cache needs its memory only after the transfer
        load_weights(self._engine, ((name, full_weight(weight)) for name, weight in weights))
        if self._is_asleep:
            self._engine.wake_up(["kv_cache"])
            self._is_asleep = False

    def sleep(self) -> None:
        """Free GPU memory for the trainer, until new weights come. Does nothing on a CPU."""
        if torch.cuda.is_available() and not self._is_asleep:
            # New weights follow, so level 2 discards the old. Level 1 would copy them to host memory.
            self._engine.sleep(level=2)
            self._is_asleep = True

    def close(self) -> None:
        """Frees its memory. Also ends all process groups, including those of the caller."""
        self._engine.engine_core.shutdown()

    def _run(self, samples: Iterator[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        assert not self._is_asleep, "its weights were discarded, and no new ones came"
        running = _RunningRequests(self._engine, self.decoder, sampling)
        # vLLM compiles the ranks of log-probabilities, which we do not use; on a CPU that needs a C++
        # compiler and takes longer than a short run.
        stance = "default" if torch.cuda.is_available() else "force_eager"
        try:
            while True:
                for sample in islice(samples, self._rows * QUEUE_FACTOR - len(running)):
                    yield from running.add(sample)
                if not running:
                    return
                with torch.compiler.set_stance(stance):
                    finished = running.step()
                yield from finished
        finally:
            running.abort()


@dataclass(frozen=True)
class _RunningRequest:
    rollout: SegmentedRollout
    ids: list[int]
    """The prompt, with one placeholder per image."""
    pictures: list[Picture]


class _RunningRequests:
    """The rollouts of one call that are being generated, each with vLLM's request for its current segment."""

    def __init__(self, engine: Any, decoder: TokenDecoder, sampling: Sampling) -> None:
        self._engine, self._decoder, self._sampling = engine, decoder, sampling
        self._stops = sorted(decoder.special_tokens.stops)
        # The samples of a prompt follow each other.
        self._encode = lru_cache(maxsize=1)(partial(encode_plainly, tokenizer=decoder.tokenizer))
        self._context = int(engine.model_config.max_model_len)
        self._by_name: dict[str, _RunningRequest] = {}
        self._names = map(str, count())

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, partial: PartialRollout) -> list[Rollout]:
        """Returns the rollout if it is already finished or cannot be started."""
        prompt, sample = partial.prompt, partial.sample
        try:
            ids, pictures = self._encode(prompt)
        except PromptError as error:
            return [failed_rollout(prompt.id, sample, str(error))]
        if len(ids) >= self._context:
            trouble = f"the prompt has {len(ids):,} tokens, the model's limit is {self._context:,}"
            return [failed_rollout(prompt.id, sample, trouble)]
        rollout = SegmentedRollout(prompt, tuple(ids), sample, self._sampling, self._decoder)
        rollout.add_prefix(partial.token_ids)
        return self._start_segment(_RunningRequest(rollout, ids, pictures))

    def step(self) -> list[Rollout]:
        finished: list[Rollout] = []
        for output in self._engine.step():
            request = self._by_name.pop(output.request_id)
            rollout, (segment,) = request.rollout, output.outputs
            # vLLM has expanded each image's placeholder to as many tokens as the image has.
            expanded = output.prompt_token_ids
            rollout.prompt_ids = tuple(expanded[: len(expanded) - len(rollout.token_ids)])
            rollout.add_segment(segment.token_ids, segment.logprobs.logprobs)
            finished += self._start_segment(request)
        return finished

    def abort(self) -> None:
        self._engine.abort_request(list(self._by_name))

    def _start_segment(self, request: _RunningRequest) -> list[Rollout]:
        """Returns the rollout instead if it has ended."""
        rollout = request.rollout
        if len(rollout.prompt_ids) + len(rollout.token_ids) >= self._context:
            rollout.stop = rollout.stop or "length"
        if rollout.stop:
            return [rollout.rollout()]
        name = next(self._names)
        prompt = {"prompt_token_ids": [*request.ids, *rollout.token_ids]} | _image_input(request.pictures)
        (rendered,) = self._engine.renderer.render_cmpl([prompt])
        self._engine.add_request(name, rendered, self._sampling_params(rollout))
        self._by_name[name] = request
        return []

    def _sampling_params(self, rollout: SegmentedRollout) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            max_tokens=rollout.max_tokens,
            temperature=self._sampling.temperature,
            seed=rollout.seed,
            logprobs=0,
            flat_logprobs=True,
            stop_token_ids=self._stops,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _image_input(pictures: list[Picture]) -> dict[str, Any]:
    if not pictures:
        return {}
    return {"multi_modal_data": {"image": [open_picture(picture) for picture in pictures]}}
