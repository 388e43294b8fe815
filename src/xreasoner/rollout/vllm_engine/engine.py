"""vLLM in this process, behind the protocol of every engine: text models and vision-language models.

A thought is closed by stopping at its budget and going on after the injected text, which the prefix cache
makes cheap. vLLM's own thinking budget is not used; docs/vllm.md says why.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xreasoner.chat.template import PromptError, encode_plainly, open_picture
from xreasoner.parallel import full_weight
from xreasoner.records import Picture, Prompt, Rollout, Sampling
from xreasoner.rollout.engine import Begun
from xreasoner.rollout.segments import Journey
from xreasoner.rollout.token_decoder import Speech, read_speech
from xreasoner.rollout.torch_engine.slots import refusal
from xreasoner.rollout.vllm_engine.options import engine_options, prepare_environment
from xreasoner.rollout.vllm_engine.weights import take_weights

QUEUED = 2
"""Requests under way for every row: one that becomes free finds the next prompt encoded."""


class VllmEngine:
    """Generates with weights of its own, which can be replaced between two calls."""

    def __init__(self, checkpoint: Path, dtype: torch.dtype, rows: int, memory: float = 0.9) -> None:
        prepare_environment()
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        self.speech, self._rows = read_speech(checkpoint), rows
        options = engine_options(checkpoint, dtype, rows, memory)
        self._engine: Any = LLMEngine.from_engine_args(EngineArgs(**options))
        self._sleeps = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        begun = (Begun(prompt, sample) for prompt in prompts for sample in range(sampling.n))
        return self._travel(begun, sampling)

    def resume(self, begun: Sequence[Begun], sampling: Sampling) -> Iterator[Rollout]:
        return self._travel(iter(begun), sampling)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """By the names of a Hugging Face checkpoint; tied ones once."""
        self._wake()
        take_weights(self._engine, ((name, full_weight(weight)) for name, weight in weights))

    def rest(self) -> None:
        """Give the GPU's memory to the trainer until asked again; on a CPU there is nothing to give."""
        if torch.cuda.is_available() and not self._sleeps:
            self._engine.sleep(level=1)
            self._sleeps = True

    def close(self) -> None:
        """Gives back its memory, and ends all process groups, also those of whoever uses it."""
        self._engine.engine_core.shutdown()

    def _wake(self) -> None:
        if self._sleeps:
            self._engine.wake_up()
            self._sleeps = False

    def _travel(self, begun: Iterator[Begun], sampling: Sampling) -> Iterator[Rollout]:
        self._wake()
        travels = _Travels(self._engine, self.speech, sampling)
        # The ranks of log-probabilities, which nobody reads, are compiled: on a CPU that takes a C++ compiler
        # and more time than a short run.
        stance = "default" if torch.cuda.is_available() else "force_eager"
        try:
            while True:
                for one in islice(begun, self._rows * QUEUED - len(travels)):
                    yield from travels.begin(one)
                if not travels:
                    return
                with torch.compiler.set_stance(stance):
                    arrived = travels.step()
                yield from arrived
        finally:
            travels.abandon()


@dataclass(frozen=True)
class _Traveller:
    journey: Journey
    ids: list[int]
    """The prompt, with one place for every picture."""
    pictures: list[Picture]


class _Travels:
    """The journeys under way in one call, each with the request it waits for."""

    def __init__(self, engine: Any, speech: Speech, sampling: Sampling) -> None:
        self._engine, self.speech, self._sampling = engine, speech, sampling
        self._room = int(engine.model_config.max_model_len)
        self._under_way: dict[str, _Traveller] = {}
        self._request_names = map(str, count())

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, begun: Begun) -> list[Rollout]:
        prompt = begun.prompt
        try:
            ids, pictures = encode_plainly(prompt, self.speech.tokenizer)
        except PromptError as error:
            return [refusal(prompt.id, begun.sample, str(error))]
        if len(ids) >= self._room:
            trouble = f"the prompt has {len(ids):,} tokens, the model's limit is {self._room:,}"
            return [refusal(prompt.id, begun.sample, trouble)]
        journey = Journey(prompt, tuple(ids), begun.sample, self._sampling, self.speech)
        journey.follow(begun.token_ids)
        return self._go_on(_Traveller(journey, ids, pictures))

    def step(self) -> list[Rollout]:
        arrived: list[Rollout] = []
        for output in self._engine.step():
            traveller = self._under_way.pop(output.request_id)
            journey, (leg,) = traveller.journey, output.outputs
            # vLLM gave every picture as many places as it has tokens.
            expanded = output.prompt_token_ids
            journey.prompt_ids = tuple(expanded[: len(expanded) - len(journey.token_ids)])
            journey.go(leg.token_ids, leg.logprobs.logprobs)
            arrived += self._go_on(traveller)
        return arrived

    def abandon(self) -> None:
        self._engine.abort_request(list(self._under_way))

    def _go_on(self, traveller: _Traveller) -> list[Rollout]:
        journey = traveller.journey
        if len(journey.prompt_ids) + len(journey.token_ids) >= self._room:
            journey.stop = journey.stop or "length"
        if journey.stop:
            return [journey.rollout()]
        name = next(self._request_names)
        prompt = {"prompt_token_ids": [*traveller.ids, *journey.token_ids]} | _shown(traveller.pictures)
        (rendered,) = self._engine.renderer.render_cmpl([prompt])
        self._engine.add_request(name, rendered, self._leg(journey))
        self._under_way[name] = traveller
        return []

    def _leg(self, journey: Journey) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            max_tokens=journey.wanted,
            temperature=self._sampling.temperature,
            seed=journey.seed,
            logprobs=0,
            flat_logprobs=True,
            stop_token_ids=sorted(self.speech.vocabulary.stops),
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _shown(pictures: list[Picture]) -> dict[str, Any]:
    if not pictures:
        return {}
    return {"multi_modal_data": {"image": [open_picture(picture) for picture in pictures]}}
