"""A running `vllm serve` that samples for a trainer: token ids in and out, and new weights while it runs.

Weights travel over vLLM's weight-transfer interface: NCCL from a GPU, gloo (gloo.py) from a CPU.
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
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import read_token_decoder
from xreasoner.rollout.vllm_engine.options import why_not_vllm
from xreasoner.rollout.vllm_engine.weight_transfer import WeightTransfer


class RemoteVllmEngine:
    """Text only, like training. The server must serve the checkpoint that training starts from."""

    def __init__(self, settings: ServerSettings, checkpoint: Path, world: World) -> None:
        trouble = why_not_vllm() if find_spec("openai") else "its client is missing: pip install openai"
        if trouble:
            raise ValueError(f"rollout: server: {trouble}")
        import openai

        self._settings, self._decoder = settings, read_token_decoder(checkpoint)
        key = os.environ.get(settings.key_from, "none")
        self._client = openai.OpenAI(base_url=settings.url, api_key=key, max_retries=4)
        self._world = world
        root = settings.url.removesuffix("/").removesuffix("/v1")
        self._transfer = WeightTransfer(root, world.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        pool = ThreadPoolExecutor(self._settings.concurrency)
        try:
            futures = [
                pool.submit(self._answer, prompt, sample, sampling)
                for prompt in prompts
                for sample in range(sampling.n)
            ]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """All processes gather the weights, the first one sends them, and all wait until they arrived."""
        if self._world.is_first:
            self._transfer.send(weights)
        else:
            for _, weight in weights:
                full_weight(weight)
        wait_for_all(self._world)

    def sleep(self) -> None:
        """Does nothing: the server has its own memory."""

    def _answer(self, prompt: Prompt, sample: int, sampling: Sampling) -> Rollout:
        ids, _ = encode_plainly(prompt, self._decoder.tokenizer)
        rollout = SegmentedRollout(prompt, tuple(ids), sample, sampling, self._decoder)
        while not rollout.stop:
            segment = self._send([*ids, *rollout.token_ids], rollout, sampling.temperature)
            self._check_banned(segment.token_ids)
            rollout.add_segment(segment.token_ids, segment.logprobs.token_logprobs)
        return rollout.rollout()

    def _send(self, ids: list[int], rollout: SegmentedRollout, temperature: float) -> Any:
        import openai

        try:
            response = self._client.completions.create(
                model=self._settings.model,
                prompt=ids,
                max_tokens=rollout.max_tokens,
                temperature=temperature,
                seed=rollout.seed,
                logprobs=0,
                extra_body={
                    "stop_token_ids": sorted(self._decoder.special_tokens.stops),
                    "ignore_eos": True,
                    "return_token_ids": True,
                    "skip_special_tokens": False,
                },
            )
        except openai.OpenAIError as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{self._settings.url}: the server did not answer: {why}") from None
        return response.choices[0]

    def _check_banned(self, token_ids: Sequence[int]) -> None:
        """A server may have been started without the logits processor that bans vision tokens."""
        if not self._decoder.special_tokens.banned.isdisjoint(token_ids):
            raise ValueError(
                f"{self._settings.url}: the server samples banned tokens such as image placeholders; "
                "start it with --logits-processors as docs/vllm.md says"
            )
