"""A server for verl's agent loops that really generates: transformers in a Ray actor, on the CPU."""

import math
from typing import Any

import ray
import torch
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList
from verl.workers.rollout.replica import TokenOutput


class Bias(LogitsProcessor):
    def __init__(self, bias: dict[int, float]) -> None:
        self.ids, self.values = torch.tensor(list(bias)), torch.tensor(list(bias.values()))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_add(-1, self.ids, self.values.expand(scores.shape[0], -1).contiguous())


@ray.remote
class TransformersServer:
    """Takes what verl's vLLM server takes, and returns what it returns."""

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.requests: list[dict[str, Any]] = []

    def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str,
        image_data: Any = None,
        video_data: Any = None,
    ) -> TokenOutput:
        assert image_data is None
        assert video_data is None
        self.requests.append({"request_id": request_id, "prompt": len(prompt_ids), **sampling_params})
        temperature = sampling_params["temperature"]
        done = self.model.generate(
            torch.tensor([prompt_ids]),
            max_new_tokens=sampling_params["max_tokens"],
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0,
            eos_token_id=sampling_params["stop_token_ids"],
            logits_processor=LogitsProcessorList([Bias(sampling_params["logit_bias"])]),
            output_scores=True,
            return_dict_in_generate=True,
        )
        tokens = done.sequences[0, len(prompt_ids) :].tolist()
        steps = [scores[0].log_softmax(-1) for scores in done.scores]
        logprobs = [float(step[token]) for step, token in zip(steps, tokens, strict=True)]
        assert all(math.isfinite(logprob) for logprob in logprobs)
        return TokenOutput(token_ids=tokens, log_probs=logprobs, extra_fields={"global_steps": 0})

    def seen(self) -> list[dict[str, Any]]:
        return self.requests
