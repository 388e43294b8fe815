"""Small random models on vLLM. Without vLLM installed (`make test-vllm` has it), nothing is collected."""

import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from tests.train.test_sft import settings as sft_settings
from tests.vllm.servers import serving_policy
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from xreasoner.miniworld.model import Size, new_base, save_base
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.checkpoint import save_model
from xreasoner.models.load import Loaded, load, load_tokenizer
from xreasoner.models.surgery import detach
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Message, Part, Picture, Problem, Prompt
from xreasoner.report.push import write_release
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.engine import VllmEngine
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

# vLLM's attention on the CPU has kernels for a few sizes of heads: 32 is the smallest.
SIZE = Size(
    hidden=64,
    layers=2,
    heads=2,
    kv_heads=1,
    mlp=128,
    vision_hidden=32,
    vision_layers=1,
    rope_sections=(0, 1, 15),
)
ROWS = 64
RECIPE = """
name: small
model: {base}
out: {out}
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [2, 2], count: 8}}]
    steps: 1
evaluation:
  benchmarks: []
"""


def shaken(model: PreTrainedModel, spread: float = 0.3) -> PreTrainedModel:
    """A random model whose greedy text is not one token repeated."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, spread)
    return model


@pytest.fixture(scope="session")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `xreasoner push --out` writes it, after one step of training."""
    folder = tmp_path_factory.mktemp("vlm")
    model, _, _ = new_base(0, SIZE)
    save_base(shaken(model), folder / "base")
    (folder / "small.yaml").write_text(RECIPE.format(base=folder / "base", out=folder / "run"))
    run_recipe(read_recipe(folder / "small.yaml", []), Console(quiet=True))
    write_release(folder / "run", None, "me/small", folder / "pushed")
    assert (folder / "pushed" / "README.md").is_file()
    return folder / "pushed"


@pytest.fixture(scope="session")
def lm(vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its text model, with a chat template that opens the thought in the prompt."""
    out = tmp_path_factory.mktemp("lm") / "checkpoint"
    detach(vlm, out)
    tokenizer = load_tokenizer(out)
    assert isinstance(tokenizer.chat_template, str)
    tokenizer.chat_template += "{%- if add_generation_prompt -%}<think>{%- endif -%}"
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(scope="session")
def lm_loaded(lm: Path) -> Loaded:
    return load(lm)


@pytest.fixture(scope="session")
def lm_torch(lm_loaded: Loaded) -> TorchEngine:
    return TorchEngine(lm_loaded)


@pytest.fixture(scope="session")
def vlm_torch(vlm: Path) -> TorchEngine:
    return TorchEngine(load(vlm))


# Per module: when one engine is garbage-collected, vLLM ends the process groups of all.
@pytest.fixture(scope="module")
def lm_vllm(lm: Path) -> VllmEngine:
    return VllmEngine(lm, torch.float32, ROWS, longest=700)


@pytest.fixture(scope="module")
def vlm_vllm(vlm: Path) -> VllmEngine:
    return VllmEngine(vlm, torch.float32, ROWS)


@pytest.fixture(scope="session")
def ask() -> Callable[..., Prompt]:
    def prompt(name: str, *parts: Part) -> Prompt:
        return Prompt(name, (Message("user", parts),))

    return prompt


@pytest.fixture(scope="session")
def arms() -> list[Problem]:
    """One question with five answers, for a model that learns to give each with equal probability."""
    return [Problem(f"arm{i}", ("what ?",), str(i), "exact", reasoning="so then") for i in range(5)]


@pytest.fixture(scope="session")
def gambler(lm: Path, arms: list[Problem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that thinks briefly and answers 0 to 4 at random, of the shape of the other."""
    folder, config = tmp_path_factory.mktemp("gambler"), AutoConfig.from_pretrained(lm)
    config.initializer_range = 0.15
    torch.manual_seed(0)
    save_model(AutoModelForCausalLM.from_config(config), build_tokenizer(), folder / "start")
    train_sft(
        sft_settings(steps=60, tokens_per_step=80), folder / "start", arms, folder / "sft", 0, NoDisplay()
    )
    return folder / "sft" / "model"


@pytest.fixture(scope="session")
def server(lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerSettings]:
    """One server for all tests that train; each finds the weights that the last one left."""
    with serving_policy(lm, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


def draw_picture(columns: int, rows: int, seed: int) -> Picture:
    """Noise, `columns` x `rows` visual tokens large."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (28 * rows, 28 * columns, 3), generator=generator, dtype=torch.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG")
    return Picture(file.getvalue())


@pytest.fixture(scope="session")
def text_prompts(ask: Callable[..., Prompt]) -> list[Prompt]:
    def numbers(i: int) -> Iterator[str]:
        return (str((7 * i + 3 * j) % 10) for j in range(1 + 5 * i % 17))

    return [ask(f"text {i}", " + ".join(numbers(i))) for i in range(12)]


@pytest.fixture(scope="session")
def pictured_prompts(ask: Callable[..., Prompt], text_prompts: list[Prompt]) -> list[Prompt]:
    """A picture first, last and between, two pictures, and texts without any."""
    wide, tall, large = draw_picture(4, 1, 1), draw_picture(1, 3, 2), draw_picture(3, 2, 3)
    return [
        ask("first", wide, " 1 + 2"),
        ask("last", "3 + 4 ", tall),
        ask("between", "5 ", large, " + 6"),
        ask("two", "7 ", tall, " + ", large, " 8"),
        ask("adjacent", large, wide, " 9"),
        *text_prompts[:4],
    ]
