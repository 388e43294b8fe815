"""Running `vllm serve`s that sample for a trainer: token ids in and out, and new weights while they run.

Weights travel over vLLM's weight-transfer interface: NCCL from a GPU, gloo (gloo.py) from a CPU.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
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
    """Text only, like training. The servers must serve the checkpoint that training starts from."""

    def __init__(self, settings: ServerSettings, checkpoint: Path, world: World) -> None:
        trouble = why_not_vllm() if find_spec("openai") else "its client is missing: pip install openai"
        if trouble:
            raise ValueError(f"rollout: server: {trouble}")
        import openai

        self._settings, self._decoder = settings, read_token_decoder(checkpoint)
        key = os.environ.get(settings.key_from, "none")
        self._clients = [openai.OpenAI(base_url=url, api_key=key, max_retries=4) for url in settings.urls]
        self._world = world
        roots = [url.removesuffix("/").removesuffix("/v1") for url in settings.urls]
        self._transfer = WeightTransfer(roots, world.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        pool = ThreadPoolExecutor(self._settings.concurrency * len(self._clients))
        try:
            futures = list[Future[Rollout]]()
            # Several processes begin at different servers.
            for index, prompt in enumerate(prompts, self._world.rank):
                # All samples of a prompt come from one server, which caches the prompt.
                client = self._clients[index % len(self._clients)]
                ids, _ = encode_plainly(prompt, self._decoder.tokenizer)
                for sample in range(sampling.n):
                    rollout = SegmentedRollout(prompt, tuple(ids), sample, sampling, self._decoder)
                    futures.append(pool.submit(self._answer, client, rollout, sampling.temperature))
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

    def _answer(self, client: Any, rollout: SegmentedRollout, temperature: float) -> Rollout:
        while not rollout.stop:
            segment = self._send(client, rollout, temperature)
            self._check_banned(client, segment.token_ids)
            rollout.add_segment(segment.token_ids, segment.logprobs.token_logprobs)
        return rollout.rollout()

    def _send(self, client: Any, rollout: SegmentedRollout, temperature: float) -> Any:
        import openai

        try:
            response = client.completions.create(
                model=self._settings.model,
                prompt=[*rollout.prompt_ids, *rollout.token_ids],
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
            raise ValueError(f"{client.base_url}: the server did not answer: {why}") from None
        return response.choices[0]

    def _check_banned(self, client: Any, token_ids: Sequence[int]) -> None:
        """A server may have been started without the logits processor that bans vision tokens."""
        if not self._decoder.special_tokens.banned.isdisjoint(token_ids):
            raise ValueError(
                f"{client.base_url}: the server samples banned tokens such as image placeholders; "
                "start it with --logits-processors as docs/vllm.md says"
            )
