"""Estimates of the shipped recipes, and of recipes that cannot work."""

from pathlib import Path

import pytest
from rich.console import Console

from xreasoner.estimate.data_size import TYPICAL, DataSize
from xreasoner.estimate.estimate import StageEstimate, estimate_evaluation, estimate_recipe
from xreasoner.estimate.gpus import Gpus, read_gpus
from xreasoner.estimate.model_shape import KNOWN, read_shape, shape_of
from xreasoner.estimate.print_estimate import print_estimates
from xreasoner.estimate.time import attention_flops, estimate_grpo, estimate_sft, forward_flops
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.schema import Evaluation, GrpoStage, SftStage

RECIPES = Path(__file__).parent.parent.parent / "recipes"
SEVEN = KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"]


def look(name: str, gpus: str, *overrides: str, model: str = "7B") -> dict[str, StageEstimate]:
    recipe = read_recipe(RECIPES / f"{name}.yaml", overrides)
    shape = KNOWN[f"Qwen/Qwen2.5-VL-{model}-Instruct"]
    return {one.stage: one for one in estimate_recipe(recipe, shape, read_gpus(gpus), {})}


def test_gpus_are_read() -> None:
    assert read_gpus("8xH100-80") == Gpus(8, "H100", 80e9)
    assert read_gpus("rtx4090-24") == Gpus(1, "RTX4090", 24e9)
    assert read_gpus("1x4090-24") == Gpus(1, "RTX4090", 24e9)
    assert read_gpus("2x8xH100-80GB") == Gpus(16, "H100", 80e9)
    for text, said in {
        "H100": "expected the form 8xH100-80",
        "8xH1000-80": "unknown GPU H1000; did you mean H",
        "0xH100-80": "at least one GPU is needed",
    }.items():
        with pytest.raises(ValueError, match=said):
            read_gpus(text)


def test_sft_of_7b_fits_on_eight_large_cards_and_not_on_one() -> None:
    eight, one = look("x-reasoner-7b", "8xH100-80")["sft"], look("x-reasoner-7b", "1xH100-80")["sft"]
    assert eight.fits(read_gpus("8xH100-80"))
    assert not eight.advice
    assert not one.fits(read_gpus("1xH100-80"))
    assert one.advice[-1].startswith("sft: lora={rank: 64}: ")


def test_gradients_checkpointed_and_rows_cut_are_advised_first() -> None:
    estimate = look("x-reasoner-7b", "8xH100-80", "sft.gradient_checkpointing=false")["sft"]
    assert not estimate.fits(read_gpus("8xH100-80"))
    assert estimate.advice[0].startswith("sft: gradient_checkpointing=true: ")
    assert estimate.advice[0].endswith("GB, fits")
    assert len(estimate.advice) == 1


def test_short_rows_are_the_last_thing_advised() -> None:
    advice = look("x-reasoner-7b", "1xRTX4090-24")["sft"].advice
    assert [line.split("=")[0] for line in advice] == ["sft: lora", "sft: lora.base", "sft: max_length"]
    assert advice[2].startswith("sft: max_length=8192, tokens_per_microbatch=8192: ")


def test_a_base_in_4_bits_is_advised_on_any_number_of_gpus() -> None:
    for gpus in ("1xRTX4090-24", "2xRTX4090-24"):
        assert "sft: lora.base=4bit" in " ".join(look("x-reasoner-7b", gpus)["sft"].advice)


def test_unknown_amounts_are_no_zeros() -> None:
    med = look("x-reasoner-med-7b", "8xH100-80")
    assert med["sft"].compute is None
    assert med["sft"].advice == ("sft: the amount of data is unknown; run `xreasoner data stats` first",)
    recipe, gpus = read_recipe(RECIPES / "x-reasoner-med-7b.yaml"), read_gpus("8xH100-80")
    known = estimate_recipe(recipe, SEVEN, gpus, {"sft": DataSize(9000, 900.0, True)})[0]
    assert known.compute is not None
    assert known.compute.trained_tokens == 4 * 9000 * 900
    console = Console(record=True, width=160)
    print_estimates(recipe.name, SEVEN, gpus, [med["sft"]], console)
    assert console.export_text().count("?") == 7


def test_adapters_are_trained_on_all_gpus() -> None:
    """The bfloat16 base and the float32 adapters are sharded; the reference is the adapter switched off."""
    rl = look("x-reasoner-3b-lora", "8xH100-80", "rl.kl=0.1", model="3B")["rl"]
    assert (rl.gpus, rl.advice) == (8, ())
    three = KNOWN["Qwen/Qwen2.5-VL-3B-Instruct"]
    adapters = three.adapters(
        64, ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    )
    update = {peak.name: peak.memory for peak in rl.peaks}["update"]
    gathered = 2 * (2 * three.layer + three.ends)
    copy_to_sample_from = 2 * three.parameters
    sharded = (2 * three.parameters + 4 * adapters) / 8
    assert update.weights == pytest.approx(sharded + gathered + copy_to_sample_from)
    assert update.optimizer == pytest.approx(8 * adapters / 8)


def test_with_a_copy_on_each_machine_eight_gpus_share_the_moments() -> None:
    spread = look("x-reasoner-7b", "32xH100-80")["sft"].peaks[0].memory
    copied = look("x-reasoner-7b", "32xH100-80", "sft.shard_over=node")["sft"].peaks[0].memory
    assert spread.optimizer == pytest.approx(8 * SEVEN.parameters / 32)
    assert copied.optimizer == pytest.approx(8 * SEVEN.parameters / 8)


def test_vllm_gets_what_training_leaves() -> None:
    """A 3B on a card of 24 GB: 6.2 GB of weights, 6.3 with one answer, are 27% of it; training keeps 41%."""

    def advice(*changes: str, model: str = "3B") -> tuple[str, ...]:
        return look("x-reasoner-3b-lora", "1xRTX4090-24", *changes, model=model)["rl"].advice

    by_choice = "rl: vLLM, which rollout=auto uses if installed, fits with rollout_memory=0.58"
    assert advice() == advice("rl.rollout_memory=0.5") == ()
    assert advice("rl.rollout_memory=0.2") == (by_choice,)
    assert advice("rl.rollout_memory=0.2", "rl.rollout=torch") == ()
    # 15.2 GB of weights twice are more than there is.
    seven = advice("rl.rollout=vllm", "rl.rows=16", model="7B")
    assert seven == ("rl: vLLM does not fit beside training; use rollout=torch",)


def test_reinforcement_uses_all_cards_each_with_a_copy_to_sample_from() -> None:
    rl = look("x-reasoner-7b", "8xH100-80")["rl"]
    assert (rl.gpus, rl.advice) == (8, ())
    assert rl.fits(read_gpus("8xH100-80"))
    answers = {peak.name: peak.memory for peak in rl.peaks}["answers"]
    # An eighth of the float32 weights, as much of the reference's, and a whole copy in bfloat16.
    assert answers.weights == pytest.approx(SEVEN.parameters * (4 / 8 + 4 / 8 + 2))


def test_one_card_has_a_copy_where_it_trains_float32_weights_in_bfloat16() -> None:
    def weights(*changes: str) -> float:
        (rl,) = (one for one in look("x-reasoner-7b", "1xB200-192", *changes).values() if one.stage == "rl")
        return {peak.name: peak.memory for peak in rl.peaks}["answers"].weights / SEVEN.parameters

    assert weights("rl.rollout=torch", "rl.kl=0") == pytest.approx(4 + 2)
    assert weights("rl.rollout=torch", "rl.kl=0", "rl.dtype=float32") == pytest.approx(4)
    assert weights("rl.rollout=torch", "rl.kl=0", "rl.lora={rank: 8}") == pytest.approx(2, abs=0.05)


def test_the_small_recipe_fits_a_gamers_card() -> None:
    found = look("x-reasoner-3b-lora", "1xRTX4090-24", model="3B")
    assert [one.stage for one in found.values() if not one.fits(read_gpus("1xRTX4090-24"))] == []


def test_operations_by_hand() -> None:
    # Twice the multiplied weights for each token: 7.6 billion less the embedding that is only looked up.
    tokens = 1e6
    matrices = SEVEN.parameters - SEVEN.embedding
    assert forward_flops(SEVEN, tokens, 0) == pytest.approx(2 * matrices * tokens, rel=1e-3)
    # 4 * layers * width * half the length, for each token.
    assert attention_flops(SEVEN, 1, 6000) == 4 * 28 * 3584 * 3000


def test_epochs_become_steps_and_hours() -> None:
    stage = read_recipe(RECIPES / "x-reasoner-7b.yaml").stages["sft"]
    assert isinstance(stage, SftStage)
    compute = estimate_sft(stage, SEVEN, DataSize(1000, 5000.0, True), Gpus(8, "H100", 80e9))
    assert compute.trained_tokens == 4 * 1000 * 5000
    assert compute.steps == -(-4 * 1000 * 5000 // stage.tokens_per_step)
    assert compute.hours == pytest.approx(compute.flops / (8 * 0.4 * 989e12) / 3600)


@pytest.mark.parametrize(
    ("changes", "passes", "generated"),
    [
        ({}, 0, 1),
        ({"rl.kl=0.1"}, 1, 1),
        ({"rl.minibatches=4"}, 0.75, 1),
        ({"rl.importance=sequence", "rl.minibatches=4"}, 1, 1),
        ({"rl.oversample=1.5"}, 0, 1.5),
    ],
)
def test_what_else_a_batch_of_grpo_costs(changes: set[str], passes: float, generated: float) -> None:
    """Relative to the plain stage: forward passes over what is trained, and answers that are sampled."""
    gpus, size = Gpus(8, "H100", 80e9), DataSize(1000, 500.0, True)
    plain, stage = (
        read_recipe(RECIPES / "x-reasoner-7b.yaml", ["rl.kl=0", *more]).stages["rl"] for more in ((), changes)
    )
    assert isinstance(plain, GrpoStage) and isinstance(stage, GrpoStage)
    before, after = (estimate_grpo(one, SEVEN, size, gpus) for one in (plain, stage))
    length = 0.6 * stage.think_budget + stage.answer_budget / 4
    forward = forward_flops(SEVEN, before.trained_tokens, length)
    sampled = forward_flops(SEVEN, before.generated_tokens, length)
    assert after.trained_tokens == before.trained_tokens
    assert after.generated_tokens == pytest.approx(generated * before.generated_tokens)
    assert after.flops - before.flops == pytest.approx(passes * forward + (generated - 1) * sampled)


def test_the_sizes_of_corpora_are_those_the_design_knows() -> None:
    assert TYPICAL["medqa"][0] == 10178
    data_size = look("x-reasoner-7b", "8xH100-80")["sft"].data_size
    assert data_size is not None
    assert (data_size.problems, data_size.mean_tokens, data_size.is_measured) == (113_957, 6000.0, False)


def test_shapes_of_checkpoints_are_read(tiny_base: Path) -> None:
    from xreasoner.models.load import load

    shape = shape_of(str(tiny_base))
    tower = load(tiny_base).model.model.language_model
    assert shape.parameters == sum(p.numel() for p in tower.parameters())
    with pytest.raises(ValueError, match="no hidden_size"):
        read_shape({"model_type": "x"})


def test_a_plan_is_printed_for_every_shipped_recipe() -> None:
    for path in sorted(RECIPES.glob("x-reasoner*.yaml")):
        recipe, gpus, console = read_recipe(path), read_gpus("8xH100-80"), Console(record=True, width=160)
        print_estimates(recipe.name, SEVEN, gpus, estimate_recipe(recipe, SEVEN, gpus, {}), console)
        said = console.export_text()
        for stage in recipe.stages:
            assert f" {stage} " in said
        assert "optimizer" in said
        assert "Assumed: 40%" in said


def test_an_evaluation_by_generate_is_said_to_be_slow() -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 99, "model_type": "t"}
    said = {}
    for model_type in ("qwen2_5_vl", "qwen3_5", "lfm2_vl"):
        shape = read_shape({"model_type": model_type, "text_config": text, "vision_config": {}})
        advice = estimate_evaluation(Evaluation(), shape, read_gpus("1xH100-80")).advice
        said[model_type] = [line for line in advice if "generate answers one question at a time" in line]
    assert [len(said[name]) for name in said] == [0, 1, 1]
