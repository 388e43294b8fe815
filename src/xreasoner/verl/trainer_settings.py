"""The settings of a GRPO stage for verl, on top of verl's own `ppo_trainer` configuration.

`DIFFERENCES` lists where verl behaves differently; the export writes it beside the settings.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xreasoner.recipe.schema import GrpoStage, Recipe

DIFFERENCES = (
    "An answer that the grader fails on counts as wrong (and in `unscored`); ours leaves it out.",
    "Groups without spread are computed; ours skips them. The gradient is the same.",
    "The last checkpoint is the result; ours is the best on the held-out problems.",
    "verl draws the problems in another order.",
)

NO_DUAL_CLIP = 1e9
"""verl bounds the loss of bad answers by `clip_ratio_c` times the advantage; our loss has no such bound."""


@dataclass(frozen=True)
class Sizes:
    """What the settings need to know of the model and the data."""

    problems: int
    held_out: int
    longest_prompt: int
    longest_answer: int
    """All tokens of an answer, both budgets and the forced exit included."""


@dataclass(frozen=True)
class Machines:
    nodes: int = 1
    gpus: int = 8
    """Per node."""


KNOWN = {"loss": ("token",), "loss_mean": ("tokens",), "advantage": ("scaled", "centered")}
"""The values of these settings that the export translates."""


def refuse_what_verl_cannot(name: str, stage: GrpoStage) -> None:
    if stage.freeze:
        raise ValueError(f"{name}.freeze: verl trains all weights; export with {name}.freeze=[]")
    if stage.lora and stage.lora.base != "own":
        raise ValueError(f"{name}.lora.base: verl gets no base in 4 bits; export with {name}.lora.base=own")
    if stage.prompts_per_step % stage.minibatches:
        raise ValueError(
            f"{name}.minibatches: verl needs equal parts; {stage.prompts_per_step} prompts_per_step "
            f"are not divisible by {stage.minibatches}"
        )
    for key, known in KNOWN.items():
        if getattr(stage, key) not in known:
            raise ValueError(f"{name}.{key}: the export knows {' and '.join(known)} only")
    if stage.importance == "sequence":
        raise ValueError(f"{name}.importance: verl corrects by token; export with {name}.importance=token")
    if [reward.function for reward in stage.rewards] != ["correct"]:
        raise ValueError(f"{name}.rewards: the export has the reward `correct` only; remove the others")


def verl_settings(name: str, recipe: Recipe, sizes: Sizes, machines: Machines) -> dict[str, Any]:
    """`folder` is set by `train.sh`: Ray's workers start in folders of their own, so paths must be whole."""
    stage = recipe.stages[name]
    assert isinstance(stage, GrpoStage)
    return {
        "folder": "???",
        "data": data_settings(stage, recipe.seed, sizes),
        "actor_rollout_ref": {
            "model": model_settings(stage),
            "actor": actor_settings(stage, sizes),
            "rollout": rollout_settings(stage),
        },
        "algorithm": algorithm_settings(stage),
        "reward": {
            "custom_reward_function": {"path": "pkg://xreasoner.verl.reward", "name": "compute_score"}
        },
        "trainer": trainer_settings(name, recipe, stage, sizes, machines),
    }


def data_settings(stage: GrpoStage, seed: int, sizes: Sizes) -> dict[str, Any]:
    watched = (
        {"val_files": "${folder}/held_out.parquet"}
        if sizes.held_out
        else {"val_files": "${folder}/train.parquet"}
    )
    return {
        "train_files": "${folder}/train.parquet",
        # verl insists on validation data; without held-out problems it gets one row and never asks it.
        **watched,
        "val_max_samples": -1 if sizes.held_out else 1,
        "train_batch_size": stage.prompts_per_step,
        "max_prompt_length": sizes.longest_prompt,
        "max_response_length": sizes.longest_answer,
        "truncation": "error",
        "shuffle": True,
        "seed": seed,
    }


def model_settings(stage: GrpoStage) -> dict[str, Any]:
    lora = {}
    if stage.lora:
        lora = {
            "lora_rank": stage.lora.rank,
            "lora_alpha": stage.lora.alpha,
            "target_modules": list(stage.lora.targets),
        }
    return {"path": "${folder}/model", "enable_gradient_checkpointing": stage.gradient_checkpointing, **lora}


def actor_settings(stage: GrpoStage, sizes: Sizes) -> dict[str, Any]:
    precision = {} if stage.dtype == "auto" else {"fsdp_config": {"dtype": stage.dtype}}
    return {
        "strategy": "fsdp2",
        "ppo_mini_batch_size": stage.prompts_per_step // stage.minibatches,
        "ppo_epochs": stage.updates_per_batch,
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": max(
            stage.tokens_per_microbatch, sizes.longest_prompt + sizes.longest_answer
        ),
        "loss_agg_mode": "token-mean",
        "clip_ratio_low": stage.clip_low,
        "clip_ratio_high": stage.clip_high,
        "clip_ratio_c": NO_DUAL_CLIP,
        "entropy_coeff": 0,
        "use_kl_loss": stage.kl > 0,
        "kl_loss_coef": stage.kl,
        # With `+` the gradient is that of KL(policy || reference), as with our ratio-weighted k3.
        "kl_loss_type": "low_var_kl+",
        "grad_clip": stage.clip_norm,
        "optim": {
            "lr": stage.lr,
            "lr_scheduler_type": "cosine",
            "lr_warmup_steps_ratio": stage.warmup,
            "min_lr_ratio": stage.min_lr_ratio,
            "weight_decay": stage.weight_decay,
            "betas": list(stage.betas),
            "clip_grad": stage.clip_norm,
        },
        **precision,
    }


def rollout_settings(stage: GrpoStage) -> dict[str, Any]:
    precision = {} if stage.dtype == "auto" else {"dtype": stage.dtype}
    return {
        "name": "vllm",
        "n": stage.samples_per_prompt,
        "temperature": stage.temperature,
        "top_p": 1.0,
        "top_k": -1,
        "calculate_log_probs": True,
        "gpu_memory_utilization": stage.rollout_memory,
        "max_num_seqs": stage.rows,
        "tensor_model_parallel_size": 1,
        "agent": {"default_agent_loop": "xreasoner", "agent_loop_config_path": "${folder}/agent_loop.yaml"},
        **precision,
    }


def algorithm_settings(stage: GrpoStage) -> dict[str, Any]:
    return {
        "adv_estimator": "grpo",
        "norm_adv_by_std_in_grpo": stage.advantage == "scaled",
        "use_kl_in_reward": False,
        "filter_groups": {"enable": stage.oversample > 1, "metric": "acc"},
        "rollout_correction": {"rollout_is": "token", "rollout_is_threshold": stage.importance_cap},
    }


def trainer_settings(
    name: str, recipe: Recipe, stage: GrpoStage, sizes: Sizes, machines: Machines
) -> dict[str, Any]:
    batches = sizes.problems // stage.prompts_per_step
    if not batches:
        raise ValueError(
            f"{name}: {sizes.problems} problems are fewer than prompts_per_step, "
            f"which is {stage.prompts_per_step}; verl needs a full batch"
        )
    steps = stage.steps or math.ceil((stage.epochs or 0) * sizes.problems / stage.prompts_per_step)
    return {
        "project_name": recipe.name,
        "experiment_name": name,
        "logger": ["console"],
        "nnodes": machines.nodes,
        "n_gpus_per_node": machines.gpus,
        "total_training_steps": steps,
        "total_epochs": math.ceil(steps / batches),
        "save_freq": stage.checkpoint_every,
        "test_freq": stage.eval_every or -1,
        "val_before_train": stage.eval_every > 0,
        "default_local_dir": "${folder}/checkpoints",
        "max_actor_ckpt_to_keep": 2,
    }


def agent_loop_settings(stage: GrpoStage) -> list[dict[str, Any]]:
    return [
        {
            "name": "xreasoner",
            "_target_": "xreasoner.verl.agent_loop.ForcedExitLoop",
            "think_budget": stage.think_budget,
            "answer_budget": stage.answer_budget,
            "forced_exit": stage.forced_exit,
            "exit_without_thought": stage.exit_without_thought,
            "overlong": stage.overlong,
        }
    ]


def differences(stage: GrpoStage) -> Iterator[str]:
    """How a run in verl departs from the recipe, for this stage."""
    yield from DIFFERENCES
    if stage.oversample > 1:
        yield "Groups without spread are replaced in further rounds; ours draws more problems at once."
    if stage.max_lag:
        yield "This trainer of verl waits for its answers: max_lag has no counterpart."
    if stage.kl > 0 and stage.updates_per_batch > 1:
        yield "Several updates a batch: from the second on, the gradients of the divergence differ."
