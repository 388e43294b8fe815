"""Every line of the tables in docs/scale.md, worked out again from the sizes of the models."""

import importlib.util
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest

from xreasoner.estimate import memory, vllm_share
from xreasoner.estimate.gpus import read_gpus
from xreasoner.rollout.torch_engine import prefill
from xreasoner.rollout.vllm_engine.engine import VllmEngine

ROOT = Path(__file__).parent.parent.parent
VOCABULARY = {"3B": 151_936, "7B": 152_064, "32B": 152_064, "72B": 152_064}
RANK = 64
VISION = 0.67


def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("estimates", ROOT / "docs" / "estimates.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = made()


@dataclass(frozen=True)
class Model:
    billions: float
    layers: int
    hidden: int
    mlp: int
    kv: int
    ends: int
    """How many matrices the embeddings are: one if they are tied."""

    def adapters(self) -> float:
        """In billions: q and o are square, k and v narrow, gate, up and down wide."""
        h, f, kv = self.hidden, self.mlp, self.kv
        return self.layers * RANK * (2 * (h + h) + 2 * (h + kv) + 3 * (h + f)) / 1e9

    def layer(self) -> float:
        """In billions: matrices, biases of q, k and v, two norms."""
        h, f, kv = self.hidden, self.mlp, self.kv
        return (2 * h * h + 2 * h * kv + 3 * h * f + h + 2 * kv + 2 * h) / 1e9


MODELS = {
    "3B": Model(3.085938688, 36, 2048, 11008, 256, ends=1),
    "7B": Model(7.615616512, 28, 3584, 18944, 512, ends=2),
    "32B": Model(32.763876352, 64, 5120, 27648, 1024, ends=2),
    "72B": Model(72.706203648, 80, 8192, 29568, 1024, ends=2),
}
LINES = [(name, machine) for name in MODELS for machine in MADE.MACHINES]


def cache(model: Model, answers: int, tokens: int) -> float:
    """GB: keys and values, two bytes each."""
    return 2 * model.layers * model.kv * answers * tokens * 2 / 1e9


def step(name: str, tokens: int, gpus: int) -> float:
    """GB of activations and logits of a row with gradient checkpointing."""
    m, head = MODELS[name], VOCABULARY[name] * MODELS[name].hidden
    chunk = min(tokens, max(256, 2**29 // (4 * VOCABULARY[name]))) * VOCABULARY[name]
    lora = gpus == 1
    logits = 4 * (chunk + 2 * tokens * m.hidden + (0 if lora else head)) + 2 * chunk
    # Inputs of the layers; the last norm; and one layer, computed again, as it is differentiated.
    kept = m.layers * m.hidden * (4 if lora else 2) + 10 * m.hidden
    h, f, kv = m.hidden, m.mlp, m.kv
    layer = 16 * h + (10 if lora else 4) * h + 4 * (h + kv) + 8 * f
    layer += 4 * (2 * h + h + f) if lora else 0
    layer += 6 * f + 8 * h
    return (tokens * kept + max(0, tokens * layer - logits) + logits) / 1e9


@pytest.mark.parametrize(("name", "machine"), LINES)
def test_the_memory_of_a_line(name: str, machine: str) -> None:
    m, gpus, size = MODELS[name], read_gpus(machine).count, read_gpus(machine).memory / 1e9
    found = MADE.estimates(name, read_gpus(machine), MADE.MACHINES[machine])
    system = 0.8 + 0.06 * size
    embeddings = m.ends * VOCABULARY[name] * m.hidden / 1e9
    if gpus == 1:  # adapters of rank 64 beside frozen bfloat16
        held = 2 * m.billions + 4 * m.adapters()
        trained, gathered, gradients = m.adapters(), 0.0, 4 * m.adapters()
        rows, prompts, answer, longest, step_sft, step_rl = 64, 8, 2048 + 256, 2816, 6144, 4096
        copy = reference = 0.0
    else:  # all weights in float32, sharded; each GPU has a copy to sample from, and a part of the reference
        held = 4 * m.billions / gpus
        trained, gathered = m.billions, 2 * (2 * m.layer() + embeddings)
        gradients = held + 2 * (m.layer() + embeddings)
        rows, answer, longest, step_sft, step_rl = 1024 // gpus, 4096 + 512, 5120, 16384, 16384
        prompts = rows // 8
        copy, reference = 2 * m.billions, held
    both = held + gathered + gradients + 8 * trained / gpus + system
    assert found["sft"].peaks[0].memory.total / 1e9 == pytest.approx(
        both + step(name, step_sft, gpus), rel=1e-3
    )
    update, answers = (peak.memory for peak in found["rl"].peaks)
    assert update.total / 1e9 == pytest.approx(both + copy + reference + step(name, step_rl, gpus), rel=1e-3)
    # The prompts of the answers are read at once, one layer at a time; float32 logits and probabilities.
    reading = prompts * 512 * (m.hidden * 10 + 3 * m.mlp * 2) / 1e9
    drawing = 2 * 4 * rows * VOCABULARY[name] / 1e9
    resident = held + copy + reference + 8 * trained / gpus + system
    assert longest == 512 + answer
    assert answers.kv_cache / 1e9 == pytest.approx(cache(m, rows, longest))
    assert answers.total / 1e9 == pytest.approx(
        resident + reading + drawing + cache(m, rows, longest), rel=1e-3
    )
    vllm = found["rl"].vllm
    assert vllm is not None
    own = 0.4 * size - 2 * m.billions - 8192 * (m.hidden * 10 + m.mlp * 6) / 1e9 - 0.8
    assert vllm.holds == max(0, int(own / cache(m, 1, longest)))
    assert vllm.asked == rows


@pytest.mark.parametrize(("name", "machine"), LINES)
def test_the_images_of_a_line(name: str, machine: str) -> None:
    """A megapixel is 1,337 visual tokens; as many prompts as have 16,384 tokens together are read at once."""
    m, size = MODELS[name], read_gpus(machine).memory / 1e9
    rows, budgets = (64, 2304) if read_gpus(machine).count == 1 else (128, 4608)
    found = MADE.estimates(name, read_gpus(machine), MADE.MACHINES[machine])["evaluation"]
    at_once = 8  # of 512 + 1,337 tokens
    tower = at_once * 1337 * 4 * (1280 * 16 + 3 * 3420 * 2) / 1e9
    reading = at_once * 1849 * (m.hidden * 10 + m.mlp * 6) / 1e9
    total = 2 * (m.billions + VISION) + max(tower, reading) + 0.8 + 0.06 * size
    total += cache(m, rows, 1849 + budgets) + 8 * rows * VOCABULARY[name] / 1e9
    assert found.peaks[0].memory.total / 1e9 == pytest.approx(total, rel=1e-3)
    # transformers reads the whole model into host memory first; 1.5 GB is the process.
    assert found.host / 1e9 == pytest.approx(1.5 + 2 * (m.billions + VISION))


@pytest.mark.parametrize(("name", "machine"), LINES)
def test_loading_and_saving_of_a_line(name: str, machine: str) -> None:
    m, gpus = MODELS[name], read_gpus(machine).count
    found = MADE.estimates(name, read_gpus(machine), MADE.MACHINES[machine])["rl"]
    disk, trained = found.disk, m.adapters() if gpus == 1 else m.billions
    assert disk is not None
    read = 2 * m.billions / (4 if gpus == 32 else 1)  # each machine its part
    assert disk.read / 1e9 == pytest.approx(read)
    assert disk.load == pytest.approx(read / 2)  # 2 GB/s
    assert disk.state / 1e9 == pytest.approx(12 * trained)
    assert disk.pause == pytest.approx(12 * trained / gpus / 10)  # 10 GB/s from each GPU
    assert disk.write == pytest.approx(12 * trained / (4 if gpus == 32 else 1) / 2)
    assert disk.checkpoint / 1e9 == pytest.approx(2 * m.billions)
    # A copy of the state with the largest tensor.
    saving = 12 * trained / gpus + 2 * VOCABULARY[name] * m.hidden / 1e9
    assert found.host / 1e9 == pytest.approx(1.5 + saving)


def test_a_server_leaves_only_the_update() -> None:
    """On GPUs of its own it has neither weights nor a cache here."""
    recipe = MADE.read_recipe(
        ROOT / "recipes" / "x-reasoner-7b.yaml",
        ["rl.rollout=server", "rl.server={url: http://a:8000/v1, model: policy}"],
    )
    eight, seven = read_gpus("8xH100-80"), MADE.KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"]
    with_server = {one.stage: one for one in MADE.estimate_recipe(recipe, seven, eight, {})}["rl"]
    without = MADE.estimates("7B", eight, "x-reasoner-7b")["rl"]
    assert [peak.name for peak in with_server.peaks] == ["update"]
    saved = without.peaks[0].memory.total - with_server.peaks[0].memory.total
    assert saved == pytest.approx(2 * seven.parameters)


@pytest.mark.parametrize(
    ("model", "card", "count"),
    # At 5,000 tokens. 7B: 24 GB hold 15 answers beside the weights. 72B: 145.4 GB of weights are 72.7 of the
    # 72 that two cards give each; eight cards of 24 GB are left with 0.5 GB for a cache of 3.3.
    [("7B", "H100-80", 1), ("7B", "RTX4090-24", 2), ("72B", "H100-80", 4), ("72B", "RTX4090-24", None)],
)
def test_the_cards_over_which_a_server_spreads_a_model(model: str, card: str, count: int | None) -> None:
    shape = MADE.KNOWN[f"Qwen/Qwen2.5-VL-{model}-Instruct"]
    assert vllm_share.gpus_of_a_server(shape, read_gpus(f"1x{card}"), 5000, 2) == count


def test_the_page_has_these_tables() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    assert page.count(MADE.BEGIN) == page.count(MADE.END) == 1
    assert page == MADE.with_table(page), "run `python docs/estimates.py`"


def test_what_the_engines_do_is_what_is_estimated() -> None:
    assert memory.PREFILL_TOKENS == prefill.MAX_TOKENS
    assert signature(VllmEngine).parameters["memory"].default == vllm_share.SERVER_SHARE
