"""A running `vllm serve` that samples for a trainer: token ids in and out, and new weights while it runs.

Weights travel by vLLM's own transfer interface: NCCL from a GPU, gloo (vllm_gloo.py) from a CPU.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from xreasoner.chat.template import encode_plainly
from xreasoner.parallel import World, full_weight, wait_for_all
from xreasoner.recipe.settings import ServerAddress
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.segments import Journey
from xreasoner.rollout.token_decoder import read_speech
from xreasoner.rollout.vllm_engine.transfer import Transfer
from xreasoner.rollout.vllm_engine.version import why_not_vllm


class VllmServer:
    """Text only, as training is. The server holds the checkpoint that training starts from."""

    def __init__(self, address: ServerAddress, checkpoint: Path, world: World) -> None:
        trouble = why_not_vllm() if find_spec("openai") else "its client is missing: pip install openai"
        if trouble:
            raise ValueError(f"rollout: server: {trouble}")
        import openai

        self._address, self._speech = address, read_speech(checkpoint)
        key = os.environ.get(address.key_from, "none")
        self._client = openai.OpenAI(base_url=address.url, api_key=key, max_retries=4)
        self._world = world
        self._transfer = Transfer(address.url.removesuffix("/").removesuffix("/v1"), world.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        pool = ThreadPoolExecutor(self._address.concurrency)
        try:
            asked = [
                pool.submit(self._travel, prompt, sample, sampling)
                for prompt in prompts
                for sample in range(sampling.n)
            ]
            for future in as_completed(asked):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """The first process sends what all put together; none asks before all of it has come."""
        if self._world.is_first:
            self._transfer.send(weights)
        else:
            for _, weight in weights:
                full_weight(weight)
        wait_for_all(self._world)

    def rest(self) -> None:
        """Its memory is its own."""

    def _travel(self, prompt: Prompt, sample: int, sampling: Sampling) -> Rollout:
        ids, _ = encode_plainly(prompt, self._speech.tokenizer)
        journey = Journey(prompt, tuple(ids), sample, sampling, self._speech)
        while not journey.stop:
            leg = self._ask([*ids, *journey.token_ids], journey, sampling.temperature)
            self._refuse_forbidden(leg.token_ids)
            journey.go(leg.token_ids, leg.logprobs.token_logprobs)
        return journey.rollout()

    def _ask(self, ids: list[int], journey: Journey, temperature: float) -> Any:
        import openai

        try:
            answered = self._client.completions.create(
                model=self._address.model,
                prompt=ids,
                max_tokens=journey.wanted,
                temperature=temperature,
                seed=journey.seed,
                logprobs=0,
                extra_body={
                    "stop_token_ids": sorted(self._speech.vocabulary.stops),
                    "ignore_eos": True,
                    "return_token_ids": True,
                    "skip_special_tokens": False,
                },
            )
        except openai.OpenAIError as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{self._address.url}: the server did not answer: {said}") from None
        return answered.choices[0]

    def _refuse_forbidden(self, token_ids: Sequence[int]) -> None:
        """A server can be started without what keeps it from sampling marks of pictures."""
        if not self._speech.vocabulary.banned.isdisjoint(token_ids):
            raise ValueError(
                f"{self._address.url}: the server samples forbidden tokens, marks of pictures; "
                "start it with --logits-processors as docs/vllm.md says"
            )
