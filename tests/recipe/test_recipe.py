"""Recipes: overrides, one-line errors, the editor schema, and every shipped recipe."""

from pathlib import Path

import pytest

from xreasoner.recipe.file import read_recipe, recipe_schema, write_recipe
from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.recipe.shipped import recipe_path
from xreasoner.recipe.training_data import MiniworldData

RECIPES = Path(__file__).parent.parent.parent / "recipes"

SMALL = """
name: small
seed: 0
model: miniworld
stages:
  sft:
    kind: sft
    data: [{source: miniworld, families: [sums], steps: [1, 4], count: 60}]
    steps: 30
    lr: 3e-4
    lora: null
  rl:
    kind: grpo
    data: [{source: miniworld, families: [sums], steps: [2, 6], count: 60}]
    epochs: 1
evaluation:
  benchmarks:
    - {source: miniworld, families: [sums], steps: [2, 4], count: 50}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_reads_stages_in_order_and_by_kind(small: Path) -> None:
    recipe = read_recipe(small)
    assert list(recipe.stages) == ["sft", "rl"]
    assert isinstance(recipe.stages["sft"], SftStage)
    assert isinstance(recipe.stages["rl"], GrpoStage)
    assert recipe.stages["sft"].lr == 0.0003
    assert recipe.stages["sft"].data == (
        MiniworldData(source="miniworld", families=("sums",), steps=(1, 4), count=60),
    )
    assert recipe.run_dir == Path("runs/small")


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("sft.lr=5e-4", lambda r: r.stages["sft"].lr, 0.0005),
        ("stages.sft.lr=2.5E-4", lambda r: r.stages["sft"].lr, 0.00025),
        ("sft.lr=1", lambda r: r.stages["sft"].lr, 1.0),
        ("sft.lora.rank=8", lambda r: r.stages["sft"].lora.rank, 8),
        ("sft.lora={rank: 4, alpha: 8}", lambda r: r.stages["sft"].lora.alpha, 8.0),
        ("evaluation.benchmarks.0.count=7", lambda r: r.evaluation.benchmarks[0].count, 7),
        ("evaluation.think_budget=12", lambda r: r.evaluation.think_budget, 12),
        ("rl.from=base", lambda r: r.start_of("rl"), "base"),
        ("instruction=null", lambda r: r.instruction, None),
        ("instruction='Think: then answer'", lambda r: r.instruction, "Think: then answer"),
        ("seed=3", lambda r: r.seed, 3),
        ("out=/tmp/x", lambda r: r.run_dir, Path("/tmp/x")),
    ],
)
def test_overrides(small: Path, override: str, read, value) -> None:
    assert read(read_recipe(small, [override])) == value


def test_later_overrides_win_and_null_leaves_a_stage_out(small: Path) -> None:
    recipe = read_recipe(small, ["sft.lora.rank=8", "sft.lora=null", "seed=1", "seed=2", "sft=null"])
    assert list(recipe.stages) == ["rl"]
    assert recipe.start_of("rl") == "base"
    assert recipe.seed == 2
    assert read_recipe(small, ["sft.lora.rank=8", "sft.lora=null"]).stages["sft"].lora is None


def test_a_stage_starts_from_the_one_before(small: Path) -> None:
    recipe = read_recipe(small)
    assert (recipe.start_of("sft"), recipe.start_of("rl")) == ("base", "sft")


MISTAKES = {
    "sft.lrr=1": "{file} with sft.lrr=1: stages.sft.lrr: unknown key; did you mean lr?",
    "sead=1": "{file} with sead=1: sead: unknown key; did you mean seed?",
    "stf.lr=1": "{file} with stf.lr=1: stf: unknown key; did you mean sft?",
    "sft.lora.rang=1": "{file} with sft.lora.rang=1: stages.sft.lora.rang: unknown key; did you mean rank?",
    "sft.start=base": "{file} with sft.start=base: stages.sft.start: unknown key; valid: from, steps, ",
    "evaluation.benchmarks.0.cuont=1": "evaluation.benchmarks.0.cuont: unknown key; did you mean count?",
    "sft.lr=fast": "{file} with sft.lr=fast: stages.sft.lr: should be a valid number, not 'fast'",
    "sft.lr='1'": "stages.sft.lr: should be a valid number, not '1'",
    "sft.steps=1.5": "stages.sft.steps: should be a valid integer",
    "sft.lr=-1": "{file} with sft.lr=-1: stages.sft.lr: should be greater than 0, not -1",
    "sft.warmup=2": "stages.sft.warmup: should be less than or equal to 1, not 2",
    "sft.lr=.nan": "stages.sft.lr: should be a finite number",
    "sft.epochs=1": "{file} with sft.epochs=1: stages.sft: set exactly one of steps and epochs",
    "sft.data=null": "stages.sft.data: should be a valid array, not None",
    "sft.data.0.source=jsonI": "stages.sft.data.0.source: 'jsonI' is unknown; did you mean jsonl?",
    "sft.data.0.steps=[4,1]": "stages.sft.data.0: steps: [4, 1] the first number must not be the larger one",
    "sft.kind=spt": "{file} with sft.kind=spt: stages.sft.kind: 'spt' is unknown; did you mean sft?",
    "new={steps: 1}": "new: unknown key; valid: name, model, ",
    "stages.new={steps: 1}": "stages.new.kind: missing; valid: grpo, sft",
    "stages.new={kind: sft, steps: 1}": "stages.new.data: missing",
    "stages.New=3": "stages.New: should match pattern",
    "rl.from=dpo": "{file}: stages.rl.from: 'dpo' is not an earlier stage; use base, sft",
    "sft.dtype=float23": "stages.sft.dtype: should be 'auto', 'float32' or 'bfloat16', not 'float23'",
    "rl.max_length=64": "stages.rl: max_length: 64 leaves no room for a prompt; think_budget and answer_",
    "rl.max_lag=1": "stages.rl: max_lag: needs rollout: server; an engine in this process cannot",
    "rl.minibatches=500": "stages.rl: minibatches: 500 parts of ",
    "rl.importance=answer": "stages.rl.importance: should be 'token' or 'sequence', not 'answer'",
    "rl.importance_bounds=[1.1, 2]": "stages.rl: importance_bounds: 1 must lie between 1.1 and 2",
    "sft.held_out=4": "stages.sft: held_out and eval_every: set both or neither",
    "sft.keep_best=true": "stages.sft: keep_best: needs held_out and eval_every",
    "evaluation.samples=4": "evaluation: samples: more than one at temperature 0 are all equal",
    "evaluation.after=[dpo]": "evaluation.after: 'dpo' is not a stage of this recipe",
    "sft.data.3.count=1": "sft.data.3.count=1: stages.sft.data is a list; use an index from 0 to 0",
    "sft.lr.x=1": "sft.lr.x=1: stages.sft.lr is 0.0003, which has no keys",
    "seed.x=1": "seed.x=1: seed is 0, which has no keys",
    "sft.lr": "sft.lr: an override must be KEY=VALUE, as in sft.lr=5e-4",
    "sft.data.0={source: miniworld, families: [sums], steps: [1, 4], count: 9, task: read, brief: 0.5}": (
        "stages.sft.data.0: brief: with task: read there are no thoughts; remove one of the two"
    ),
    "sft..lr=1": "sft..lr=1: an override must be KEY=VALUE",
    "sft.lr=[": "sft.lr=[:1: invalid YAML",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_one_line_that_names_key_file_and_remedy(small: Path, override: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_recipe(small, [override])
    line = str(caught.value)
    assert MISTAKES[override].format(file=small) in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: miniworld\n", "name: missing"),
        ("name: x\nmodel: [\n", "x.yaml:3: invalid YAML"),
        ("name: x\nmodel: y\nname: z\n", "x.yaml:1: invalid YAML: the key name appears twice"),
        ("- a\n", "x.yaml: a recipe must be a mapping"),
        (
            "name: x\nmodel: y\nstages: {base: {kind: sft, steps: 1, data: [{source: jsonl, path: p}]}}\n",
            "'base'",
        ),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_recipe(path)
    assert said in str(caught.value)
    assert "x.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml: no such recipe file"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_what_is_written_reads_back_the_same(small: Path, tmp_path: Path) -> None:
    recipe = read_recipe(small, ["sft.lora.rank=8", "rl.from=base"])
    (tmp_path / "again.yaml").write_text(write_recipe(recipe))
    assert read_recipe(tmp_path / "again.yaml") == recipe


def test_the_schema_for_editors_has_not_drifted() -> None:
    committed = (RECIPES / "recipe.schema.json").read_text()
    assert committed == recipe_schema(), "run: xreasoner schema > recipes/recipe.schema.json"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.evaluation.benchmarks
    assert path.read_text().startswith("# yaml-language-server: $schema=recipe.schema.json\n")


def test_a_shipped_recipe_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("quickstart")).name == "quickstart"
    assert recipe_path(Path("distill/medqa"), "distillation").parts[-3:] == (
        "recipes",
        "distill",
        "medqa.yaml",
    )
    (tmp_path / "quickstart").write_text("name: mine\nmodel: miniworld\n")
    assert read_recipe(Path("quickstart")).name == "mine", "a file comes first"


def test_a_name_that_is_no_recipe_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^quickstrt: no such recipe file, .* did you mean quickstart\?$"):
        read_recipe(Path("quickstrt"))
    with pytest.raises(ValueError, match=r"^zzz: .* there are .*quickstart.*x-reasoner-7b"):
        read_recipe(Path("zzz"))
