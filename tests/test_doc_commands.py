"""Every command of the documentation runs here, on the mini-world, or stands in a list with the reason.

`MODEL`, `RECIPE` and `RUN` are what a reader puts in their place. A command may get further settings that
make its work small; what it says is the same.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from tests.report.demo_run import make_run
from tests.test_docs import PAGES, typed_commands
from typer.testing import CliRunner

from xreasoner.cli.main import app

ROOT = Path(__file__).parent.parent
SMALL = """
name: mine
model: miniworld
instruction: think then answer
stages:
  sft:
    kind: sft
    data: [{source: miniworld, families: [sums], steps: [2, 3], count: 12}]
    steps: 2
    lr: 1e-3
    tokens_per_step: 128
    tokens_per_microbatch: 128
    max_length: 128
  rl:
    kind: grpo
    data: [{source: miniworld, families: [sums], steps: [2, 3], count: 4}]
    steps: 1
    prompts_per_step: 2
    samples_per_prompt: 2
    lr: 1e-4
    think_budget: 8
    answer_budget: 4
    tokens_per_microbatch: 128
    max_length: 128
evaluation:
  think_budget: 8
  answer_budget: 4
  benchmarks: [{source: miniworld, name: few, families: [sums], steps: [2, 3], views: [image], count: 3}]
"""
FEW = (
    "evaluation.benchmarks=[{source: miniworld, name: few, families: [sums], steps: [3, 3], count: 3}]",
    "evaluation.think_budget=8",
)
LITTLE_DATA = tuple(
    f"{stage}.data=[{{source: miniworld, families: [sums], steps: [2, 3], count: 9}}]"
    for stage in ("sft", "rl", "med-sft", "med-rl")
)
STAND_FOR = {"MODEL": "miniworld", "RECIPE": "mine.yaml", "subject,difficulty": "steps"}
RUNS = (
    "RUN",
    "RUN_A",
    "RUN_B",
    *(f"runs/{name}" for name in ("NAME", "mine", "A", "B", "eval-a", "eval-b", "eval-large")),
)


OWN_DATA = "init --model miniworld --data mine/train.jsonl --bench mine/test.jsonl --gpus cpu --out mine.yaml"
PUBLIC_DATA = (
    "init --model Qwen/Qwen2.5-VL-3B-Instruct --data openthoughts,orz-math "
    "--gpus 1xRTX4090-24 --out mine.yaml"
)


class Typed(NamedTuple):
    says: str
    settings: tuple[str, ...] = ()
    typed: str = ""
    """What the person types, once it runs."""
    writes: str = ""


RUN = {
    "chat miniworld --image picture.png": Typed("<answer>", ("--think-budget", "8"), "work out\n"),
    "compare q0:base,q1:base,q2:base q0:rl,q1:rl,q2:rl": Typed("points"),
    "compare runs/A:sft runs/B:sft": Typed("points"),
    "compare runs/eval-a runs/eval-b": Typed("points"),
    "compare runs/mine:base runs/mine:sft": Typed("points"),
    "data budgets RECIPE --stage rl": Typed("tokens"),
    "data pass-rate RECIPE --stage rl --out rates.jsonl": Typed("rates.jsonl", writes="rates.jsonl"),
    "data stats RECIPE": Typed("12"),
    "data stats RECIPE --stage sft sft.filters.max_tokens=8192": Typed("12"),
    "doctor": Typed("torch"),
    "estimate RECIPE --gpus 8xH100-80": Typed("on 8xH100-80"),
    "estimate recipes/x-reasoner-7b.yaml --gpus 8xH100-80": Typed("with vLLM"),
    "estimate mine.yaml --gpus 1xRTX4090-24": Typed("on 1xRTX4090-24"),
    "eval MODEL --bench examples/my_benchmark.py:make": Typed(
        "of 10",
        ("evaluation.think_budget=4", "evaluation.answer_budget=4"),
        writes="runs/eval-miniworld/report.html",
    ),
    "eval MODEL --recipe mine.yaml": Typed("of 3"),
    "eval miniworld --recipe recipes/quickstart.yaml": Typed("of 3", FEW),
    "init": Typed("miniworld.yaml", (), "miniworld\nminiworld\ncpu\n", writes="miniworld.yaml"),
    OWN_DATA: Typed("mine.yaml", writes="mine.yaml"),
    PUBLIC_DATA: Typed("SFT on written thoughts, GRPO", writes="mine.yaml"),
    "init --model miniworld --data miniworld --gpus cpu --out first.yaml": Typed(
        "first.yaml", writes="first.yaml"
    ),
    "launch slurm recipes/x-reasoner-7b.yaml --nodes 4": Typed("sbatch"),
    "launch slurm x-reasoner-7b --nodes 4": Typed("sbatch"),
    "regrade RUN": Typed("graded"),
    "report RUN --by subject,difficulty": Typed("report.html"),
    "report RUN --references base,runs/eval-large": Typed("report.html"),
    "report runs/NAME": Typed("report.html"),
    "run first.yaml --dry-run": Typed("benchmark"),
    "run mine.yaml": Typed("done in"),
    "run mine.yaml --dry-run": Typed("benchmark"),
    "run mine.yaml --out runs/mine": Typed("done in", writes="runs/mine/report.html"),
    "run quickstart sft.steps=100 --dry-run": Typed("sft, 100 steps", (*FEW, *LITTLE_DATA)),
    "view RUN": Typed("answers", writes="RUN/reader/index.html"),
    "view RUN --export answers.parquet": Typed("answers", writes="answers.parquet"),
    "view RUN_A RUN_B --out both": Typed("answers", writes="both/index.html"),
    "view runs/mine": Typed("answers", writes="runs/mine/reader/index.html"),
    "watch RUN": Typed("quickstart"),
}
DOWNLOADS = "downloads a model or a data set; `init`, `run` and `eval` run above on the mini-world"
SERVES = "serves until it is stopped: tests/serve and tests/vllm start servers and ask them"
INSPECT = "needs inspect_ai, which is not in every environment: tests/report/test_inspect_logs.py"
NOT_RUN = {
    "distill distillation.yaml": "asks a large teacher: tests/distill run it with a small one",
    "eval MODEL --bench gsm8k --samples 8 evaluation.temperature=0.6": DOWNLOADS,
    "eval MODEL --bench gsm8k,mmmu-pro,probe": DOWNLOADS,
    "eval MODEL --bench medxpertqa-mm --path-of medxpertqa-mm=/data/medxpertqa --count 500": DOWNLOADS,
    "eval MODEL --bench mmmu-pro --budgets 256,1024,4096": DOWNLOADS,
    "eval MODEL --bench mmmu-pro --without-image": DOWNLOADS,
    "eval NAME --bench medqa --server http://localhost:8000/v1": DOWNLOADS,
    "eval gpt-x --bench medqa --server https://api.example.com/v1": DOWNLOADS,
    "eval path/to/vlm --bench mmmu-pro --without-image": DOWNLOADS,
    "eval path/to/vlm --bench mmmu-pro,medxpertqa-mm --count 200": DOWNLOADS,
    "export verl x-reasoner-7b --out /shared/verl --nodes 4": DOWNLOADS,
    "push runs/NAME --to OWNER/NAME": "uploads to the hub: tests/report/test_push.py writes a folder",
    "run gsm8k-0.5b": DOWNLOADS,
    "run quickstart": "six minutes: `make quickstart`, and tests/pipeline with fewer steps",
    "run quickstart --track trackio": "six minutes: tests/trackers run the trackers themselves",
    "run recipes/gsm8k-0.5b.yaml": DOWNLOADS,
    "run recipes/quickstart.yaml sft.lr=1e-3 --out runs/mine": "six minutes",
    "run recipes/x-reasoner-3b-lora.yaml": DOWNLOADS,
    "run recipes/x-reasoner-7b.yaml": DOWNLOADS,
    "run recipes/x-reasoner-7b.yaml --dry-run": DOWNLOADS,
    "run x-reasoner-3b-lora": DOWNLOADS,
    "run x-reasoner-7b": DOWNLOADS,
    "run x-reasoner-7b rl.rollout_memory=0.3 --dry-run": DOWNLOADS,
    "serve MODEL --think-budget 3584 --answer-budget 512 --name mine": SERVES,
    "serve miniworld": SERVES,
    "serve miniworld --engine torch --port 8124 --think-budget 64 --answer-budget 32": SERVES,
    "serve miniworld --engine vllm -- --dtype float32 --max-num-seqs 16": SERVES,
    "serve runs/NAME/stages/2-rl/checkpoint": SERVES,
    "to-inspect RUN": INSPECT,
    "to-inspect runs/eval-a": INSPECT,
    "track runs/quickstart --to wandb": "sends to an account: tests/trackers run it without one",
    "view RUN --open": "opens the browser of this machine; without --open it runs above",
}


def typed_in_docs() -> set[str]:
    return {shlex.join(words) for page in PAGES for words in typed_commands(page)}


def test_every_command_of_the_docs_is_run_or_listed_with_a_reason() -> None:
    assert not RUN.keys() & NOT_RUN.keys()
    assert typed_in_docs() == RUN.keys() | NOT_RUN.keys()


@pytest.fixture(scope="module")
def shown_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("shown") / "RUN", count=2)


@pytest.fixture
def place(tmp_path: Path, shown_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_docs_runs(command: str, place: Path, shown_run: Path) -> None:
    wanted, words = RUN[command], shlex.split(command)
    if words[0] != "init":
        for name in ("mine.yaml", "first.yaml"):
            (place / name).write_text(SMALL)
    elif "mine/train.jsonl" in words:
        subprocess.run([sys.executable, "examples/own_questions.py", "mine"], check=True)
    Image.new("RGB", (56, 28), "white").save(place / "picture.png")
    named = {part.partition(":")[0] for word in words for part in word.split(",")}
    for name in named & {*RUNS, "q0", "q1", "q2"} if words[0] != "run" else ():
        shutil.copytree(shown_run, place / name)
        if name.startswith("runs/eval-"):  # of one model
            for stage in ("sft", "rl"):
                shutil.rmtree(place / name / "evals" / stage)
    line = [*(STAND_FOR.get(word, word) for word in words), *wanted.settings]
    done = CliRunner().invoke(app, line, input=wanted.typed)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    assert wanted.says in done.output
    assert not wanted.writes or (place / wanted.writes).exists()
