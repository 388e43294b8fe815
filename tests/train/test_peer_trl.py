"""Our loss and gradients against those of TRL's trainers on the same data; needs TRL."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.rollouts import made_up_group, rollouts_of, settings, token_logprobs, with_capped_weights
from tests.train.test_sft import settings as sft_settings
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.chat.template import Example
from xreasoner.models.checkpoint import save_model
from xreasoner.parallel import join_world
from xreasoner.train.collect import Group
from xreasoner.train.policy import Policy, open_policy
from xreasoner.train.rows import denominator, pack, policy_rows
from xreasoner.train.update import add_reference, backward

trl = pytest.importorskip("trl", reason="not in the environments of vLLM and verl")


def as_trl_batch(groups: Sequence[Group]) -> dict[str, Tensor]:
    """Prompts padded on the left, answers on the right; injected tokens masked as TRL masks tool output."""
    rollouts = rollouts_of(groups)
    advantages = [answer.advantage for group in groups for answer in group.answers]

    def padded(rows: list[tuple[int, ...]], side: str) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_side=side)

    by_policy = padded([rollout.by_policy for rollout in rollouts], "right")
    return {
        "prompt_ids": padded([rollout.prompt_ids for rollout in rollouts], "left"),
        "prompt_mask": padded([(1,) * len(rollout.prompt_ids) for rollout in rollouts], "left"),
        "completion_ids": padded([rollout.token_ids for rollout in rollouts], "right"),
        "completion_mask": padded([(1,) * len(rollout.token_ids) for rollout in rollouts], "right"),
        "tool_mask": by_policy,
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": by_policy.sum(),
    }


def padded_logprobs(lm: PreTrainedModel, groups: Sequence[Group]) -> Tensor:
    answers = [token_logprobs(lm, rollout, 1.0).detach() for rollout in rollouts_of(groups)]
    return pad_sequence(answers, batch_first=True)


AS_TRL: dict[tuple[str, str], dict[str, Any]] = {
    ("token", "tokens"): {"loss_type": "dapo"},
    ("token", "answers"): {"loss_type": "grpo"},
    ("token", "limit"): {"loss_type": "dr_grpo", "max_completion_length": 20},
    ("sequence", "answers"): {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ("cispo", "tokens"): {"loss_type": "cispo", "epsilon_high": 1.28},
}
"""TRL's settings for our `loss` and `loss_mean`. Its CISPO states the bound itself, not its distance to 1."""


def trl_loss(
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: dict[str, Tensor],
    kl: float,
    out: Path,
    **loss: Any,
) -> Tensor:
    from datasets import Dataset

    config = trl.GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=4,
        num_generations=4,
        gradient_accumulation_steps=1,
        **{"epsilon": 0.2, "epsilon_high": 0.28, **loss},
        beta=kl,
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
    )
    trainer = trl.GRPOTrainer(
        model=lm,
        args=config,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "?"}] * 4),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    lm.train()
    return trainer._compute_loss(lm, batch)


REAL_VOCABULARY = 151_936
"""Qwen2.5's."""


@pytest.fixture(
    params=[None, pytest.param(REAL_VOCABULARY, marks=pytest.mark.slow)],
    ids=["small vocabulary", "real vocabulary"],
)
def start(
    request: pytest.FixtureRequest,
    new_lm: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
) -> Path:
    changes = {"vocab_size": request.param} if request.param else {}
    save_model(new_lm(**changes), tokenizer, tmp_path / "start")
    return tmp_path / "start"


def test_sft_loss_and_gradients_equal_trls(
    start: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    from datasets import Dataset

    generator = torch.Generator().manual_seed(3)
    drawn = [torch.randint(3, 90, (length,), generator=generator).tolist() for length in (21, 9, 30)]
    rows = [{"input_ids": ids, "completion_mask": [0] * 4 + [1] * (len(ids) - 4)} for ids in drawn]
    peer = AutoModelForCausalLM.from_pretrained(start)
    config = trl.SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=3,
        completion_only_loss=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
    )
    trainer = trl.SFTTrainer(
        model=peer, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(peer, batch)
    loss.backward()

    policy = open_policy(start, sft_settings(), 0, join_world())
    examples = [
        Example(tuple(row["input_ids"]), tuple(bool(flag) for flag in row["completion_mask"])) for row in rows
    ]
    with policy.loss.computing():
        row = pack(examples, torch.device("cpu"))
        ours = policy.loss(row).loss / row.targets
    ours.backward()
    assert ours.item() == pytest.approx(loss.item(), rel=1e-5)
    found, expected = _gradients(policy), _gradients(peer)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    norms = [torch.stack([g.norm() for g in each.values()]).norm() for each in (found, expected)]
    torch.testing.assert_close(*norms, rtol=1e-5, atol=0)


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("kl", [0.0, 0.2])
def test_grpo_loss_and_gradients_equal_trls(
    start: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, kl: float, updates: int
) -> None:
    compare_with_trl(start, tokenizer, tmp_path, kl, updates, "token", "tokens")


@pytest.mark.parametrize("start", [None], indirect=True, ids=[""])
@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("kl", [0.0, 0.2])
@pytest.mark.parametrize(("loss", "mean"), [other for other in AS_TRL if other != ("token", "tokens")])
def test_other_losses_and_their_gradients_equal_trls(
    start: Path,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    kl: float,
    updates: int,
    loss: str,
    mean: str,
) -> None:
    if loss == "sequence" and kl:
        pytest.skip("TRL weights the KL by the ratio of the answer there, we by that of the token")
    compare_with_trl(start, tokenizer, tmp_path, kl, updates, loss, mean)


def compare_with_trl(
    start: Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    kl: float,
    updates: int,
    loss: str,
    mean: str,
) -> None:
    rewards = ([1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0])
    # Prompts of unequal lengths; a sampler so unlikely that every importance weight is cut to exactly 1.
    groups = [with_capped_weights(made_up_group(seed, r, prompt=5 + seed)) for seed, r in enumerate(rewards)]
    chosen = settings(kl=kl, importance_cap=1.0, loss=loss, loss_mean=mean)
    policy = open_policy(start, chosen, 0, join_world())
    peer = AutoModelForCausalLM.from_pretrained(start)
    reference = _moved(AutoModelForCausalLM.from_pretrained(start), seed=2)

    rows, tokens = policy_rows(groups, chosen, policy.world), denominator(groups, chosen)
    batch: dict[str, Any] = as_trl_batch(groups)
    if kl:
        reference_policy = open_policy(start, chosen, 0, join_world())
        reference_policy.lm.load_state_dict(reference.state_dict())
        add_reference(reference_policy, rows, 1.0)
        batch["ref_per_token_logps"] = padded_logprobs(reference, groups)
    gradient = backward(policy, rows, tokens, chosen)
    if updates == 2:
        batch["old_per_token_logps"] = padded_logprobs(peer, groups)
        _moved(peer, seed=1)
        _moved(policy.lm, seed=1)
        policy.lm.zero_grad()
        gradient = backward(policy, rows, tokens, chosen)
        assert (gradient.clip_fraction > 0) == (loss != "cispo")

    expected = trl_loss(peer, tokenizer, batch, kl, folder, **AS_TRL[loss, mean])
    expected.backward()
    assert gradient.loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    torch.testing.assert_close(_gradients(policy), _gradients(peer), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def _moved(lm: PreTrainedModel, seed: int) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    for parameter in lm.parameters():
        parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return lm


def _gradients(model: Policy | PreTrainedModel) -> dict[str, Tensor]:
    lm = model.lm if isinstance(model, Policy) else model
    found = {name: p.grad for name, p in lm.named_parameters() if p.grad is not None}
    assert found
    return found
