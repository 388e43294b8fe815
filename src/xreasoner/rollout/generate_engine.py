"""Answers by transformers' own `generate`, one after the other: slow, for any model that transformers runs.

`generate` only computes logits here. Each token is chosen from them as in the torch engine, so budgets,
forced exit, seeds and log-probabilities are the same.

Suffixes: 1 or A the one row of a batch, T its tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoProcessor,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from xreasoner.chat.template import (
    PromptError,
    encode_prompt,
    open_picture,
    readable,
    refuse_too_long,
    written_prompt,
)
from xreasoner.models.load import Loaded
from xreasoner.records import Picture, Prompt, Rollout, Sampling
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.rollout.rollout_record import failed_rollout
from xreasoner.rollout.seeds import stream_key
from xreasoner.rollout.segments import SegmentedRollout
from xreasoner.rollout.special_tokens import TokenDecoder, read_special_tokens
from xreasoner.rollout.torch_engine.sampler import draw, uniforms


class GenerateEngine:
    def __init__(self, loaded: Loaded, processor: Any = None) -> None:
        """`processor`: the family's own, where `chat/image_tokens.py` has no rule for its images."""
        self._loaded, self._processor = loaded, processor
        self._decoder = TokenDecoder(loaded.tokenizer, read_special_tokens(loaded.model, loaded.tokenizer))
        banned = sorted(self._decoder.special_tokens.banned)
        self._banned = torch.tensor(banned, dtype=torch.int64, device=loaded.model.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        model = self._loaded.model.eval()
        its_own = model.generation_config
        # `generate` takes what a call leaves open from there, such as penalties and a top-k.
        model.generation_config = GenerationConfig(pad_token_id=0)
        try:
            for prompt in prompts:
                yield from self._answers(prompt, sampling)
        finally:
            model.generation_config = its_own

    def _answers(self, prompt: Prompt, sampling: Sampling) -> Iterator[Rollout]:
        try:
            inputs = self._inputs(prompt)
        except PromptError as error:
            yield from (failed_rollout(prompt.id, sample, str(error)) for sample in range(sampling.n))
            return
        yield from (self._answer(prompt, inputs, sample, sampling) for sample in range(sampling.n))

    def _answer(self, prompt: Prompt, inputs: dict[str, Tensor], sample: int, sampling: Sampling) -> Rollout:
        ids: list[int] = inputs["input_ids"][0].tolist()
        rollout = SegmentedRollout(prompt, tuple(ids), sample, sampling, self._decoder)
        key = stream_key(sampling.seed, prompt.id, sample)
        tokens = ChosenTokens(rollout, key, sampling.temperature, self._banned)
        if not tokens.all_given:
            model: Any = self._loaded.model
            model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=max_tokens(sampling, self._decoder.special_tokens.exits.longest),
                logits_processor=LogitsProcessorList([tokens]),
                stopping_criteria=StoppingCriteriaList([AllGiven(tokens)]),
            )
        return rollout.rollout()

    def _inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        has_picture = any(isinstance(part, Picture) for message in prompt.messages for part in message.parts)
        by_its_own = has_picture and self._processor is not None
        inputs = self._own_inputs(prompt) if by_its_own else self._known_inputs(prompt)
        model = self._loaded.model
        refuse_too_long(prompt.id, inputs["input_ids"].shape[1], model.config)
        return {
            name: one.to(model.device, model.dtype if one.is_floating_point() else None)
            for name, one in inputs.items()
        }

    def _known_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        encoded = encode_prompt(prompt, self._loaded.tokenizer, self._loaded.image_processor)
        ids_1T = torch.tensor([encoded.ids])
        inputs = {"input_ids": ids_1T, "attention_mask": torch.ones_like(ids_1T), **encoded.other_inputs}
        if encoded.pixel_values is not None:
            inputs["pixel_values"] = encoded.pixel_values
        if encoded.image_grid_thw is not None:
            inputs["image_grid_thw"] = encoded.image_grid_thw
            inputs["mm_token_type_ids"] = (ids_1T == self._loaded.model.config.image_token_id).int()
        return inputs

    def _own_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        text, pictures = written_prompt(prompt, self._loaded.tokenizer)

        def read() -> dict[str, Tensor]:
            images = [[open_picture(one) for one in pictures]]
            # The chat template has written the tokens that begin a text.
            processed = self._processor(
                text=[text], images=images, add_special_tokens=False, return_tensors="pt"
            )
            return {name: one for name, one in processed.items() if isinstance(one, Tensor)}

        return readable(prompt.id, read)


class ChosenTokens(LogitsProcessor):
    """Leaves `generate` one token to take: the next one of the rollout."""

    def __init__(self, rollout: SegmentedRollout, key: int, temperature: float, banned: Tensor) -> None:
        self._rollout, self._temperature, self._banned = rollout, temperature, banned
        self._key_1 = torch.tensor([key], device=banned.device)
        self._given = 0

    @property
    def all_given(self) -> bool:
        return self._rollout.stop is not None and self._given == len(self._rollout.token_ids)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self.all_given:  # on a GPU, `generate` checks for the end of an answer a few tokens late
            if self._given == len(self._rollout.token_ids):
                self._choose(scores)
            self._given += 1
        only_1V = torch.full_like(scores, float("-inf"))
        only_1V[0, self._rollout.token_ids[self._given - 1]] = 0.0
        return only_1V

    def _choose(self, logits_1V: Tensor) -> None:
        allowed_1V = logits_1V.float().index_fill(-1, self._banned, float("-inf"))
        step_1 = torch.full_like(self._key_1, self._given)
        drawn = draw(allowed_1V, self._temperature, uniforms(self._key_1, step_1))
        self._rollout.append(int(drawn.token_A), float(drawn.logprob_A))


class AllGiven(StoppingCriteria):
    def __init__(self, tokens: ChosenTokens) -> None:
        self._tokens = tokens

    def __call__(self, input_ids: Tensor, scores: Any, **others: Any) -> Tensor:
        return torch.full((len(input_ids),), self._tokens.all_given, device=input_ids.device)


def own_processor(checkpoint: Path, model_type: str) -> Any:
    """The family's own, which may need further packages."""
    try:
        return AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
    except ImportError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(
            f"{checkpoint}: the processor of {model_type} models needs further packages; most need "
            f"pip install 'xreasoner[images]' ({lines[0] if lines else 'an import failed'})"
        ) from None
