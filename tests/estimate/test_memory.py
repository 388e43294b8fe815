"""The memory formulas against what a real step keeps, and against known sizes of real models."""

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from xreasoner.chat.template import Example
from xreasoner.estimate import memory
from xreasoner.estimate.memory import TrainingSetup
from xreasoner.estimate.model_shape import KNOWN, Shape, read_shape
from xreasoner.train import loss
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import pack


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("0.5B", 494_032_768),
        ("VL-3B", 3_085_938_688),
        ("VL-7B", 7_615_616_512),
        ("VL-32B", 32_763_876_352),
        ("VL-72B", 72_706_203_648),
    ],
)
def test_language_models_have_the_published_sizes(model: str, parameters: int) -> None:
    assert KNOWN[f"Qwen/Qwen2.5-{model}-Instruct"].parameters == parameters


def small(hidden: int, mlp: int, layers: int, kv_heads: int) -> tuple[Qwen2ForCausalLM, Shape]:
    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=kv_heads,
        vocab_size=500,
        tie_word_embeddings=False,
    )
    return Qwen2ForCausalLM(config), read_shape(config.to_dict())


def kept_bytes(model: Qwen2ForCausalLM, tokens: int, dtype: torch.dtype) -> int:
    """Of all tensors that a forward pass keeps for the backward pass, weights apart."""
    example = Example(tuple(torch.randint(0, 500, (tokens // 2,)).tolist()), (True,) * (tokens // 2))
    row = pack([example, example], torch.device("cpu"))
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with LanguageModelLoss(model).computing(), autocast, hooks:
        model.base_model(
            input_ids=row.ids_1T, position_ids=row.positions_1T, use_cache=False, sequences=row.sequences
        )
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(256, 704, 4, 2), (256, 704, 2, 8), (512, 1024, 3, 2)])
def test_what_a_layer_keeps_is_within_3_percent(sizes: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    model, shape = small(*sizes)
    trained = TrainingSetup(shape, dtype.itemsize, on_cpu=True)
    last_norm = 2 * shape.hidden * 4
    wanted = 256 * (shape.layers * memory.kept_by_layer(trained) + last_norm)
    if dtype == torch.bfloat16:
        # The casts of the matrices, which the formulas count as weights. That of down_proj is not seen here:
        # hooks of our own are around it.
        wanted += 2 * shape.layers * (shape.layer_matrices - shape.hidden * shape.mlp)
    assert kept_bytes(model, 256, dtype) == pytest.approx(wanted, rel=0.03)


def test_weights_gradients_and_moments_are_those_of_a_real_step() -> None:
    model, shape = small(64, 128, 2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    row = pack([Example(tuple(range(40)), (True,) * 40)], torch.device("cpu"))
    LanguageModelLoss(model)(row).loss.backward()
    optimizer.step()
    trained = TrainingSetup(shape, 4)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert memory.weights(trained) == sum(p.nbytes for p in model.parameters())
    assert memory.gradients(trained) == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert memory.optimizer(trained) == sum(moment.nbytes for moment in moments)


def test_the_chunks_are_those_of_the_loss() -> None:
    assert (memory.CHUNK_BYTES, memory.LEAST_ROWS) == (loss.CHUNK_BYTES, loss.LEAST_ROWS)


def test_adapters_are_counted_as_peft_makes_them() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model, shape = small(64, 128, 2, 2)
    targets = ("q_proj", "v_proj", "down_proj")
    inject_adapter_in_model(LoraConfig(r=4, target_modules=list(targets)), model)
    made = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    assert shape.adapters(4, targets) == made


def test_a_base_in_4_bits_by_hand() -> None:
    shape = KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"]
    plain = TrainingSetup(shape, 2, adapters=1000)
    packed = TrainingSetup(shape, 2, adapters=1000, in_4_bits=True)
    # 28 layers: q and o, k and v, gate, up and down.
    matrices = 28 * (2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944)
    assert memory.weights(plain) == 2 * 7_615_616_512 + 4 * 1000
    # Half a byte, a byte for 64, four for 64 * 256; the rest in bfloat16; one matrix unpacked.
    rest = 2 * (7_615_616_512 - matrices) + 2 * 3584 * 18944
    assert memory.weights(packed) == pytest.approx(matrices * 0.515869 + rest + 4 * 1000, rel=1e-6)
    assert memory.weights(packed) < 0.38 * memory.weights(plain)
    # On four GPUs each has all packed matrices, a quarter of the rest, and gathers both ends and adapters.
    four = TrainingSetup(shape, 2, gpus=4, adapters=1000, in_4_bits=True)
    held = matrices * 0.515869 + 2 * 3584 * 18944 + (2 * (7_615_616_512 - matrices) + 4 * 1000) / 4
    assert memory.weights(four) == pytest.approx(held + 2 * (2 * 152064 * 3584 + 2 * 1000 / 28), rel=1e-6)


def test_what_is_divided_and_what_is_not() -> None:
    shape = KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"]
    one, eight = (TrainingSetup(shape, 2, gpus) for gpus in (1, 8))
    assert memory.optimizer(one) == 8 * memory.optimizer(eight) == 8 * shape.parameters
    assert memory.activations(eight, 1000, False) == 1000 / 2000 * memory.activations(eight, 2000, False)
    assert memory.activations(eight, 1000, True) < memory.activations(eight, 1000, False) / 4


def test_the_cache_of_one_token_by_hand() -> None:
    # 28 layers, 4 heads of 128, keys and values, two bytes each.
    assert memory.kv_cache(KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"], 1, 1, 2) == 28 * 4 * 128 * 2 * 2


def test_loss_and_the_backward_pass_of_a_layer_peak_one_after_the_other() -> None:
    tiny = TrainingSetup(Shape(4, 8, 2, 2, 1, 2, vocabulary=10, tied=False), compute=4)
    # A layer keeps 208 bytes a token: norms 96, attention 48, MLP 64. The last norm keeps 48.
    assert memory.kept_by_layer(tiny) == 208
    assert memory.kept_by_layer(tiny, checkpointing=True) == 272
    # All 100 logits, 10 tokens of 4 twice, and the head's gradient of 40.
    assert memory.logits(tiny, 10) == 4 * (100 + 2 * 40 + 40) == 880
    # The backward pass needs 128 bytes a token, 1280, of which the loss before it held 880.
    assert memory.activations(tiny, 10, checkpointing=False) == 10 * (2 * 208 + 48) + 400
    # With checkpoints 16 bytes a layer are kept, and a layer is computed again: 400 bytes a token.
    assert memory.activations(tiny, 10, checkpointing=True) == 10 * (2 * 16 + 48) + 4000 - 880
