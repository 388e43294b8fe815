"""Our forced exit as an agent loop of verl: a thought that spends its budget is closed, then answered.

The injected tokens have response mask 0, so verl's loss leaves them out.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.utils.profiler import simple_timer

from xreasoner.records import Message, Prompt, Rollout, Sampling
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import TokenDecoder, read_token_decoder

FORBIDDEN = -100.0
"""The strongest bias that vLLM takes; a token so biased is never drawn."""


@lru_cache(maxsize=4)
def decoder_of(model: str) -> TokenDecoder:
    """verl makes an agent loop for every answer; the vocabulary is read once."""
    return read_token_decoder(Path(model))


class ForcedExitLoop(AgentLoopBase):
    """One prompt, one answer, in as many requests as the budgets need: usually one or two."""

    def __init__(
        self,
        *args: Any,
        think_budget: int,
        answer_budget: int,
        forced_exit: bool,
        exit_without_thought: bool,
        overlong: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sampling = Sampling(
            think_budget=think_budget,
            answer_budget=answer_budget,
            forced_exit=forced_exit,
            exit_without_thought=exit_without_thought,
        )
        self._overlong = overlong
        self._decoder = decoder_of(str(self.config.actor_rollout_ref.model.path))

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        messages = list(row["raw_prompt"])
        prompt_ids = await self.ct_build_initial_tokens(messages)
        prompt = Prompt(
            str(row.get("index", "")), tuple(Message(m["role"], (m["content"],)) for m in messages)
        )
        answer = SegmentedRollout(prompt, tuple(prompt_ids), 0, self._sampling, self._decoder)
        request, metrics = uuid4().hex, dict[str, Any]()
        noted: dict[str, Any] = {}
        with simple_timer("generate_sequences", metrics):
            while answer.stop is None:
                # The same request id keeps every part on one server, where the prefix is cached.
                part = await self.server_manager.generate(
                    request_id=request,
                    prompt_ids=[*prompt_ids, *answer.token_ids],
                    sampling_params=self._limited(sampling_params, answer.max_tokens),
                )
                answer.add_segment(part.token_ids, part.log_probs or [0.0] * len(part.token_ids))
                noted = _first_and_last(noted, part.extra_fields)
        return self._output(answer.rollout(), metrics, noted)

    def _limited(self, sampling_params: dict[str, Any], most: int) -> dict[str, Any]:
        special = self._decoder.special_tokens
        return sampling_params | {
            "max_tokens": most,
            "stop_token_ids": sorted(special.stops),
            "logit_bias": dict.fromkeys(sorted(special.banned), FORBIDDEN),
        }

    def _output(self, rollout: Rollout, metrics: dict[str, Any], noted: dict[str, Any]) -> AgentLoopOutput:
        left_out = self._overlong == "drop" and rollout.stop == "length"
        own = {"forced_exit": float(rollout.forced_exit), "think_tokens": rollout.think_tokens}
        return AgentLoopOutput(
            prompt_ids=list(rollout.prompt_ids),
            response_ids=list(rollout.token_ids),
            response_mask=[0 if left_out else made for made in rollout.by_policy],
            response_logprobs=list(rollout.logprobs),
            num_turns=2,
            metrics=metrics,
            extra_fields=noted | own | {"turn_scores": [], "tool_rewards": []},
        )


def _first_and_last(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Which weights wrote the answer: from the first part the earliest version, from the last the latest."""
    merged = before | now
    if "min_global_steps" in before:
        merged["min_global_steps"] = before["min_global_steps"]
    return merged
