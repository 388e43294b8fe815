"""The settings against verl's own configuration: composed by its entry point, read by its own classes."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.workers.config import FSDPActorConfig, RolloutConfig


def test_verl_accepts_the_settings(config: Any) -> None:
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert need_reference_policy(config), "kl is set, so verl must keep a reference"
    assert not need_critic(config)


def test_every_setting_is_one_that_verl_has(exported: Path, config: Any) -> None:
    """Composition refuses an unknown key nowhere below a key that is new: compare with what verl ships."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        shipped = OmegaConf.to_container(compose("ppo_trainer"), resolve=False)
    ours = OmegaConf.to_container(OmegaConf.load(exported / "verl.yaml"), resolve=False)
    assert isinstance(ours, dict)
    unknown = unknown_keys(
        {k: v for k, v in ours.items() if k not in ("defaults", "hydra", "folder")}, shipped
    )
    assert unknown == []


def unknown_keys(ours: dict[Any, Any], shipped: Any, where: str = "") -> list[str]:
    found = []
    for key, value in ours.items():
        if key not in shipped:
            found.append(f"{where}{key}")
        elif isinstance(value, dict):
            found += unknown_keys(value, shipped[key], f"{where}{key}.")
    return found


def test_the_actor_reads_the_recipe(config: Any) -> None:
    actor: FSDPActorConfig = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert (actor.clip_ratio_low, actor.clip_ratio_high) == (0.2, 0.3)
    assert (actor.ppo_mini_batch_size, actor.ppo_epochs, actor.rollout_n) == (8, 2, 4)
    assert (actor.use_kl_loss, actor.kl_loss_coef, actor.kl_loss_type) == (True, 0.01, "low_var_kl+")
    assert (actor.optim.lr, actor.optim.lr_warmup_steps_ratio) == (3e-4, 0.1)
    assert tuple(actor.optim.betas) == (0.9, 0.95)


def test_the_lengths_hold_every_answer(config: Any) -> None:
    rollout: RolloutConfig = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    # A thought of 12 tokens, one opened with the last token of both budgets, the exit "\n</think>\n" of three
    # tokens, and two answer budgets of 6.
    assert rollout.response_length == 12 + 1 + 3 + 2 * 6
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu == 512


def test_steps_and_epochs(config: Any) -> None:
    # 60 problems of each of two families, 6 held out: two epochs of 114 in batches of 8 are 28.5 steps.
    assert config.trainer.total_training_steps == 29
    # verl drops the rest of an epoch: 14 batches of 8 each.
    assert config.trainer.total_epochs == 3
    assert (config.trainer.save_freq, config.trainer.test_freq) == (4, 5)


def test_paths_are_whole(exported: Path, config: Any) -> None:
    OmegaConf.resolve(config)
    for path in (
        config.data.train_files,
        config.data.val_files,
        config.actor_rollout_ref.model.path,
        config.actor_rollout_ref.rollout.agent.agent_loop_config_path,
    ):
        assert Path(path).exists()
        assert Path(path).parent == exported
